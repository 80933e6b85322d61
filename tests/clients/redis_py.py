"""redis-py does what applications do: python3 redis_py.py PORT PASSWORD [CA_FILE]."""
import sys
import threading

import redis

port, password = int(sys.argv[1]), sys.argv[2]
tls = {"ssl": True, "ssl_ca_certs": sys.argv[3], "ssl_cert_reqs": "required"} if len(sys.argv) > 3 else {}


def connect(**options):
    return redis.Redis(host="localhost", port=port, password=password, decode_responses=True, **tls, **options)


for protocol in (2, 3):
    r = connect(protocol=protocol)
    r.flushall()
    assert r.ping()
    # Plain values, and a pipeline that is none too small.
    assert r.set("a", "1", px=100000) and r.incr("a") == 2
    with r.pipeline(transaction=False) as pipe:
        for number in range(1000):
            pipe.set(f"key:{number}", number)
        assert all(pipe.execute())
    assert len(list(r.scan_iter("key:*"))) == 1000
    # Transactions: one that succeeds, one that somebody else's write spoils.
    with r.pipeline() as pipe:
        assert pipe.incr("a").hset("h", mapping={"f": 1, "g": 2}).execute() == [3, 2]
    with r.pipeline() as pipe:
        pipe.watch("a")
        connect().set("a", "changed")
        pipe.multi()
        pipe.incr("a")
        try:
            pipe.execute()
            raise AssertionError("the watched key has changed")
        except redis.WatchError:
            pass
    # Publish and subscribe.
    heard = []
    with connect(protocol=protocol) as listener:
        pubsub = listener.pubsub()
        pubsub.subscribe("news")
        assert pubsub.get_message(timeout=5)["type"] == "subscribe"
        assert r.publish("news", "hello") == 1
        heard = pubsub.get_message(timeout=5)
        assert (heard["type"], heard["data"]) == ("message", "hello"), heard
    # A blocked client, a stream with a group, a script, a wrong type.
    popper = threading.Thread(target=lambda: heard.update(popped=connect().blpop("queue", timeout=5)))
    popper.start()
    r.rpush("queue", "x")
    popper.join()
    assert list(heard["popped"]) == ["queue", "x"], heard
    first = r.xadd("s", {"f": "v"})
    r.xgroup_create("s", "g", id="0")
    read = r.xreadgroup("g", "me", {"s": ">"})
    assert first in str(read) and r.xack("s", "g", first) == 1, read
    assert r.eval("return redis.call('GET', KEYS[1])", 1, "a") == "changed"
    assert r.register_script("return ARGV[1]")(args=["cached"]) == "cached"
    try:
        r.lpush("a", 1)
        raise AssertionError("a string is no list")
    except redis.ResponseError as error:
        assert str(error).startswith("WRONGTYPE")
    assert r.zadd("z", {"one": 1, "two": 2.5}) == 2 and r.zrange("z", 0, -1, withscores=True)
    assert r.info("server")["redis_version"].startswith("7.") and r.module_list() == []
try:
    redis.Redis(host="localhost", port=port, password="wrong", **tls).ping()
    raise AssertionError("a wrong password is refused")
except redis.AuthenticationError:
    pass
print("all good")
