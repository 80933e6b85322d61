// node-redis does what applications do, in both protocols: node node_redis.js PORT PASSWORD [CA_FILE]
"use strict";
const assert = require("assert");
const { createClient } = require("redis");
const [port, password] = [Number(process.argv[2]), process.argv[3]];
const tls = process.argv[4] ? { tls: true, ca: require("fs").readFileSync(process.argv[4]) } : {};

async function connect(RESP) {
  const socket = { port, host: "localhost", family: 4, reconnectStrategy: false, ...tls };
  const client = createClient({ socket, password, RESP });
  client.on("error", error => { throw error; });
  return client.connect();
}

(async () => {
  for (const RESP of [2, 3]) {
    const [r, other, listener] = [await connect(RESP), await connect(RESP), await connect(RESP)];
    await r.flushAll();
    assert.strictEqual(await r.set("a", "1", { PX: 100000 }), "OK");
    assert.strictEqual(await r.incr("a"), 2);
    const replies = await Promise.all(Array.from({ length: 1000 }, (_, number) => r.set(`key:${number}`, `${number}`)));
    assert.ok(replies.every(reply => reply === "OK"));
    const [tripled, added] = await r.multi().incr("a").hSet("h", { f: "1", g: "2" }).exec();
    assert.deepStrictEqual([tripled, added], [3, 2]);
    await r.watch("a");
    await other.set("a", "changed");
    await assert.rejects(r.multi().incr("a").exec());
    const heard = new Promise(resolve => listener.subscribe("news", text => resolve(text)).then(() => r.publish("news", "hello")));
    assert.strictEqual(await heard, "hello");
    const popped = other.blPop("queue", 5);
    await r.rPush("queue", "x");
    assert.strictEqual((await popped).element, "x");
    const id = await r.xAdd("s", "*", { f: "v" });
    await r.xGroupCreate("s", "g", "0");
    assert.ok(JSON.stringify(await r.xReadGroup("g", "me", { key: "s", id: ">" })).includes(id));
    assert.strictEqual(await r.xAck("s", "g", id), 1);
    assert.strictEqual(await r.eval("return ARGV[1]", { arguments: ["v"] }), "v");
    await assert.rejects(r.lPush("a", "1"), /WRONGTYPE/);
    for (const client of [r, other, listener]) client.destroy();
  }
  console.log("all good");
})().catch(error => { console.error(error); process.exit(1); });
