import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** Stands between a client and a server, counts round trips and can spoil the connection. */
export interface TcpProxy {
  /** The server's URL, with the proxy's port in it. */
  readonly url: string;
  readonly port: number;
  /** How often an answer, or a part of several, came after something was sent: over all connections, since the start. */
  readonly roundTrips: number;
  /** How many connections were made since the start. */
  readonly connections: number;
  /** All that clients have sent since the start, as Latin-1. */
  readonly sent: string;
  /** Breaks every connection; new ones are served. */
  cut(): void;
  /** The next answer of the server is let through up to this many bytes, then every connection breaks. */
  cutNextAnswer(bytes: number): void;
  /** Connections are made, but nothing passes any more, in either direction; until `restore`. */
  blackhole(): void;
  /** New connections break at once, and those that are there, too; until `restore`. */
  refuse(): void;
  /** Every answer takes this much longer, in milliseconds; until `restore`. */
  delay(milliseconds: number): void;
  /** Lets everything through again. What got lost in a black hole stays lost. */
  restore(): void;
  close(): Promise<void>;
}

type Mode = "open" | "blackhole" | "refuse";

/** Starts a proxy before the server of this URL. `defaultPort` counts where the URL names none. */
export function startTcpProxy(url: string, defaultPort: number): Promise<TcpProxy> {
  const target = new URL(url);
  const host = target.hostname.replace(/^\[|\]$/g, "");
  const port = Number(target.port) || defaultPort;
  const pairs = new Set<readonly [Socket, Socket]>();
  let mode: Mode = "open";
  let latency = 0;
  let answerLimit: number | undefined;
  let roundTrips = 0;
  let connections = 0;
  let sent = "";

  const cut = () => {
    for (const [client, server] of pairs) {
      client.resetAndDestroy();
      server.destroy();
    }
  };

  const listener = createServer((client) => {
    if (mode === "refuse") {
      client.resetAndDestroy();
      return;
    }
    connections++;
    const server = connect(port, host);
    const pair = [client, server] as const;
    pairs.add(pair);
    let asked = false;
    let passing: Promise<unknown> = Promise.resolve();
    for (const socket of pair) {
      socket.setNoDelay(true);
      socket.on("error", () => {});
      socket.once("close", () => {
        pairs.delete(pair);
        client.destroy();
        server.destroy();
      });
    }
    client.on("data", (data) => {
      if (mode === "blackhole") return;
      asked = true;
      sent += data.toString("latin1");
      server.write(data);
    });
    server.on("data", (data) => {
      if (mode === "blackhole") return;
      if (asked) roundTrips++;
      asked = false;
      if (answerLimit !== undefined) {
        client.write(data.subarray(0, answerLimit), cut);
        answerLimit = undefined;
      } else {
        // What comes later must not overtake what was delayed for longer.
        passing = Promise.all([passing, latency > 0 && delay(latency)]).then(() => client.write(data));
      }
    });
  });

  return new Promise((resolve) => {
    listener.listen(0, "127.0.0.1", () => {
      target.hostname = "127.0.0.1";
      target.port = String((listener.address() as AddressInfo).port);
      resolve({
        url: target.href,
        port: Number(target.port),
        get roundTrips() {
          return roundTrips;
        },
        get connections() {
          return connections;
        },
        get sent() {
          return sent;
        },
        cut,
        cutNextAnswer(bytes) {
          answerLimit = bytes;
        },
        blackhole() {
          mode = "blackhole";
        },
        refuse() {
          mode = "refuse";
          cut();
        },
        delay(milliseconds) {
          latency = milliseconds;
        },
        restore() {
          mode = "open";
          latency = 0;
        },
        close: () =>
          new Promise((closed) => {
            listener.close(() => closed());
            cut();
          }),
      });
    });
  });
}
