/** A name of the DOM's types that those of @hono/node-server take for granted. */
type RequestInfo = string | URL | Request;
