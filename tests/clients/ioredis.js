// ioredis does what applications do: node ioredis.js PORT PASSWORD [CA_FILE]
"use strict";
const assert = require("assert");
const Redis = require("ioredis");
const [port, password] = [Number(process.argv[2]), process.argv[3]];
const tls = process.argv[4] && { ca: require("fs").readFileSync(process.argv[4]) };
const connect = () => new Redis({ port, password, host: "localhost", family: 4, tls, maxRetriesPerRequest: 1 });

(async () => {
  const r = connect();
  await r.flushall();
  assert.strictEqual(await r.set("a", "1", "PX", 100000), "OK");
  assert.strictEqual(await r.incr("a"), 2);
  const pipeline = r.pipeline();
  for (let number = 0; number < 1000; number++) pipeline.set(`key:${number}`, number);
  assert.ok((await pipeline.exec()).every(([error, reply]) => error === null && reply === "OK"));
  let seen = 0;
  for await (const keys of r.scanStream({ match: "key:*", count: 100 })) seen += keys.length;
  assert.strictEqual(seen, 1000);
  assert.deepStrictEqual(await r.multi().incr("a").hset("h", "f", 1, "g", 2).exec(), [[null, 3], [null, 2]]);
  await r.watch("a");
  const other = connect();
  await other.set("a", "changed");
  assert.strictEqual(await r.multi().incr("a").exec(), null);

  const listener = connect();
  const heard = new Promise(resolve => listener.on("message", (channel, text) => resolve([channel, text])));
  await listener.subscribe("news");
  await r.publish("news", "hello");
  assert.deepStrictEqual(await heard, ["news", "hello"]);

  const popped = other.blpop("queue", 5);
  await r.rpush("queue", "x");
  assert.deepStrictEqual(await popped, ["queue", "x"]);
  const id = await r.xadd("s", "*", "f", "v");
  await r.xgroup("CREATE", "s", "g", "0");
  assert.strictEqual((await r.xreadgroup("GROUP", "g", "me", "STREAMS", "s", ">"))[0][1][0][0], id);
  assert.strictEqual(await r.xack("s", "g", id), 1);
  r.defineCommand("echoed", { numberOfKeys: 1, lua: "return {KEYS[1], ARGV[1]}" });
  assert.deepStrictEqual(await r.echoed("k", "v"), ["k", "v"]);
  await assert.rejects(r.lpush("a", 1), /WRONGTYPE/);
  for (const client of [r, other, listener]) client.disconnect();
  console.log("all good");
})().catch(error => { console.error(error); process.exit(1); });
