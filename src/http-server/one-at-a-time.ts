import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { whenOver } from './when-over.ts';

export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void;

/** Pipelined requests of one connection that wait behind the one that is answered. No known client sends any. */
const MOST_WAITING = 4;
/** Pipelined requests of all connections together: with headers of 16 KiB each about 10 MB. */
const MOST_WAITING_IN_ALL = 512;

/**
 * Answers one request of a connection at a time (RFC 9112, section 9.3.2, allows more). Node hands pipelined requests to
 * the handler as soon as they are parsed, hundreds from a single packet, and each would take memory and a connection to
 * the upstream. A connection that sends more than a few before they are answered is ended.
 */
export function oneAtATime(handler: RequestHandler): RequestHandler {
  /** Of connections on which a request is being answered. */
  const queues = new WeakMap<Socket, [IncomingMessage, ServerResponse][]>();
  let waiting = 0;

  const begin = (socket: Socket, request: IncomingMessage, response: ServerResponse): void => {
    whenOver(response, () => next(socket));
    handler(request, response);
  };
  const next = (socket: Socket): void => {
    const queue = queues.get(socket) ?? [];
    if (socket.destroyed) waiting -= queue.splice(0).length;
    const first = queue.shift();
    if (first === undefined) {
      queues.delete(socket);
      return;
    }
    waiting--;
    // What comes meanwhile stays with the kernel, and so with the sender.
    if (queue.length > 0) socket.pause();
    else socket.resume();
    begin(socket, ...first);
  };

  return (request, response) => {
    const { socket } = request;
    const queue = queues.get(socket);
    if (queue === undefined) {
      const mine: [IncomingMessage, ServerResponse][] = [];
      queues.set(socket, mine);
      begin(socket, request, response);
    } else if (queue.length < MOST_WAITING && waiting < MOST_WAITING_IN_ALL) {
      waiting++;
      queue.push([request, response]);
      socket.pause();
    } else {
      socket.destroy();
    }
  };
}
