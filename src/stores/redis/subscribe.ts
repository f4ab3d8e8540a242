import type { Line } from "../subscription.ts";

/** Opens a line that hears the messages of a channel. */
type Subscribe = (channel: string, heard: () => void, ended: () => void) => Promise<Line>;

/** What is used of a connection of `ioredis` that only listens. */
interface IoredisListener {
  on(event: "error" | "end" | "message", listener: () => void): unknown;
  connect(): Promise<unknown>;
  subscribe(channel: string): Promise<unknown>;
  ping(): Promise<unknown>;
  disconnect(): void;
  readonly stream?: { unref?(): unknown };
}

/** The same of `redis`. */
interface NodeRedisListener {
  on(event: "error" | "end", listener: () => void): unknown;
  connect(): Promise<unknown>;
  subscribe(channel: string, listener: () => void): Promise<unknown>;
  ping(): Promise<unknown>;
  destroy(): void;
  unref(): void;
}

/** To the node that `node` answers, with the settings of its client, once: whoever wants it again opens it again. */
export function ofIoredisNode(node: () => object): Subscribe {
  return async (channel, heard, ended) => {
    const { duplicate } = node() as { duplicate?: (settings: object) => IoredisListener };
    if (duplicate === undefined) throw new Error("this client opens no further connection");
    const settings = { keyPrefix: "", lazyConnect: true, retryStrategy: () => null, autoResubscribe: false };
    const listener = duplicate.call(node(), settings);
    for (const event of ["error", "end"] as const) listener.on(event, ended);
    listener.on("message", heard);
    return begun({
      begin: async () => {
        await listener.connect();
        await listener.subscribe(channel);
        listener.stream?.unref?.();
      },
      ping: () => listener.ping(),
      close: () => listener.disconnect(),
    });
  };
}

export function ofNodeRedisNode(node: () => object | Promise<object>): Subscribe {
  return async (channel, heard, ended) => {
    const client = (await node()) as { options?: { socket?: object }; duplicate?(settings: object): NodeRedisListener };
    if (client.duplicate === undefined) throw new Error("this client opens no further connection");
    const socket = { ...client.options?.socket, reconnectStrategy: false };
    const listener = client.duplicate({ socket });
    for (const event of ["error", "end"] as const) listener.on(event, ended);
    return begun({
      begin: async () => {
        await listener.connect();
        await listener.subscribe(channel, heard);
        listener.unref();
      },
      ping: () => listener.ping(),
      close: () => listener.destroy(),
    });
  };
}

/** A line once it has begun; what cannot begin is closed. */
async function begun({ begin, ping, close }: Line & { begin(): Promise<void> }): Promise<Line> {
  const closeQuietly = () => {
    try {
      close();
    } catch {
      // It has ended by itself.
    }
  };
  try {
    await begin();
  } catch (error) {
    closeQuietly();
    throw error;
  }
  return { ping, close: closeQuietly };
}
