import { connect } from "node:net";

/**
 * Sends `count` requests over a few keep-alive connections, on each the next one when the last is answered, and resolves
 * to the seconds it took. `requests` are whole requests as bytes, used in turn. Rejects at any answer but 200.
 */
export async function load({ port, requests, count, connections = 16, timeout = 60_000 }) {
  let started = 0;
  const next = () => (started < count ? requests[started++ % requests.length] : undefined);
  const sockets = await Promise.all(Array.from({ length: connections }, () => open(port)));
  const clock = setTimeout(() => {
    for (const socket of sockets) socket.destroy(new Error(`${count} requests took more than ${timeout} ms`));
  }, timeout);
  try {
    const begin = performance.now();
    await Promise.all(sockets.map((socket) => converse(socket, next)));
    return (performance.now() - begin) / 1000;
  } finally {
    clearTimeout(clock);
    for (const socket of sockets) socket.destroy();
  }
}

function open(port) {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true }, () => resolve(socket)).once("error", reject);
    socket.setEncoding("latin1");
  });
}

/** One request after the other, until there is none. */
function converse(socket, next) {
  return new Promise((resolve, reject) => {
    const send = () => {
      const request = next();
      if (request === undefined) resolve();
      else socket.write(request);
    };
    let received = "";
    socket.on("data", (chunk) => {
      received += chunk;
      const head = received.indexOf("\r\n\r\n");
      if (head === -1) return;
      const length = /\r\nContent-Length: (\d+)/i.exec(received);
      if (length !== null && received.length < head + 4 + Number(length[1])) return;
      if (length === null || !received.startsWith("HTTP/1.1 200 ")) return reject(new Error(`unexpected: ${received}`));
      received = "";
      send();
    });
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("the server closed a connection")));
    send();
  });
}
