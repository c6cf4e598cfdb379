// What confined code must not reach, by the means of Node: one line each.
const net = require("node:net");
const dgram = require("node:dgram");
const dns = require("node:dns/promises");
const fs = require("node:fs");
const { execFileSync } = require("node:child_process");

async function attempt(name, act) {
  try {
    console.log(name, "GOT", await act());
  } catch {
    console.log(name, "refused");
  }
}

const event = (source, ready) =>
  new Promise((resolve, reject) => source.once(ready, () => resolve(ready)).once("error", reject));

(async () => {
  await attempt("connect", () => event(net.connect(53, "127.0.0.1"), "connect"));
  await attempt("listen", () => event(net.createServer().listen(0), "listening"));
  await attempt("datagram", () => event(dgram.createSocket("udp4").bind(), "listening"));
  await attempt("name", () => dns.lookup("example.com"));
  await attempt("fetch", () => fetch("http://127.0.0.1:53"));
  for (const file of ["environ", "mem", "maps", "root/etc/passwd", "fd/0"])
    await attempt(file, () => fs.readSync(fs.openSync(`/proc/1/${file}`), Buffer.alloc(1)));
  await attempt("write", () => fs.writeFileSync("/var/tmp/node", "x"));
  await attempt("terminate", () => process.kill(1, "SIGTERM"));
  await attempt("kill", () => process.kill(1, "SIGKILL"));
  console.log("control", execFileSync("sh", ["-c", "printf 7"]).toString());
})();
