// go-redis does what applications do: go run go_redis.go PORT PASSWORD [CA_FILE]
//
// Debian has its version 5, from before RESP3 and before streams had methods: those commands go through Process.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"gopkg.in/redis.v5"
)

// check ends the program where something is not so, and says which line it was.
func check(isSo bool, what ...interface{}) {
	if !isSo {
		_, _, line, _ := runtime.Caller(1)
		fmt.Println(append([]interface{}{"not so, line", line}, what...)...)
		os.Exit(1)
	}
}

func connect(password string) *redis.Client {
	options := &redis.Options{Addr: "localhost:" + os.Args[1], Password: password}
	if len(os.Args) > 3 {
		text, err := os.ReadFile(os.Args[3])
		check(err == nil, err)
		roots := x509.NewCertPool()
		check(roots.AppendCertsFromPEM(text), "an authority")
		options.TLSConfig = &tls.Config{RootCAs: roots, ServerName: "localhost"}
	}
	return redis.NewClient(options)
}

func plain(r *redis.Client) {
	check(r.FlushAll().Err() == nil && r.Set("a", "1", 100*time.Second).Err() == nil)
	check(r.Incr("a").Val() == 2 && r.TTL("a").Val() > 90*time.Second)
	check(r.Get("missing").Err() == redis.Nil)
	replies, err := r.Pipelined(func(pipe *redis.Pipeline) error {
		for number := 0; number < 1000; number++ {
			pipe.Set(fmt.Sprint("key:", number), number, 0)
		}
		return nil
	})
	check(err == nil && len(replies) == 1000, err)
	seen, scan := 0, r.Scan(0, "key:*", 100).Iterator()
	for scan.Next() {
		seen++
	}
	check(seen == 1000 && scan.Err() == nil, seen)
	err = r.LPush("a", "1").Err()
	check(err != nil && strings.HasPrefix(err.Error(), "WRONGTYPE"), err)
}

func transactions(r *redis.Client) {
	incr := func(tx *redis.Tx) error {
		_, err := tx.Pipelined(func(pipe *redis.Pipeline) error { return pipe.Incr("a").Err() })
		return err
	}
	check(r.Watch(incr, "a") == nil && r.Get("a").Val() == "3")
	err := r.Watch(func(tx *redis.Tx) error {
		check(r.Set("a", "changed", 0).Err() == nil)
		return incr(tx)
	}, "a")
	check(err == redis.TxFailedErr, "the watched key has changed", err)
}

func waiting(r *redis.Client) {
	listener, err := r.Subscribe("news")
	check(err == nil, err)
	_, err = listener.ReceiveTimeout(5 * time.Second)
	check(err == nil, err)
	check(r.Publish("news", "hello").Val() == 1)
	message, err := listener.ReceiveMessage()
	check(err == nil && message.Payload == "hello", err)
	check(listener.Close() == nil)
	popped := make(chan []string)
	go func() { popped <- r.BLPop(5*time.Second, "queue").Val() }()
	check(r.RPush("queue", "x").Err() == nil)
	check(strings.Join(<-popped, " ") == "queue x")
}

func run(r *redis.Client, words ...interface{}) interface{} {
	command := redis.NewCmd(words...)
	check(r.Process(command) == nil, words, command.Err())
	return command.Val()
}

func streamsAndScripts(r *redis.Client) {
	id := run(r, "XADD", "s", "*", "f", "v").(string)
	run(r, "XGROUP", "CREATE", "s", "g", "0")
	read := run(r, "XREADGROUP", "GROUP", "g", "me", "STREAMS", "s", ">")
	check(strings.Contains(fmt.Sprint(read), id+" [f v]"), read)
	check(run(r, "XACK", "s", "g", id) == int64(1))
	script := redis.NewScript("return {KEYS[1], ARGV[1]}")
	check(fmt.Sprint(script.Run(r, []string{"k"}, "v").Val()) == "[k v]")
}

func main() {
	r := connect(os.Args[2])
	plain(r)
	transactions(r)
	waiting(r)
	streamsAndScripts(r)
	err := connect("wrong").Ping().Err()
	check(err != nil && strings.HasPrefix(err.Error(), "WRONGPASS"), err)
	fmt.Println("all good")
}
