import { createServer } from "node:http";
import { createSessions } from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import { withSession } from "coatcheck/node";
import { acceptWebSockets, sessionOf } from "coatcheck/websocket";
import { WebSocketServer } from "ws";

const sessions = createSessions({ store: memoryStore() });

export const server = createServer(
  withSession(sessions, async (request, response, session) => {
    // Check a password here.
    if (request.url === "/login") await session.login("ada");
    // The user's sockets of this session are closed when this resolves.
    if (request.url === "/logout") await session.logout();
    response.writeHead(204).end();
  }),
);

// Users who are logged in, from this application's own pages.
const chat = new WebSocketServer({ noServer: true });
server.on("upgrade", acceptWebSockets(sessions, chat));
chat.on("connection", (socket) => {
  const { userId } = sessionOf(sessions, socket);
  socket.on("message", (text) => {
    for (const client of chat.clients) client.send(`${userId}: ${text}`);
  });
});

server.listen(Number(process.env.PORT ?? 3000));
