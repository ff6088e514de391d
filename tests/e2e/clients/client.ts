// A client of Corelane in TypeScript, on nothing but what flatc generates and npm's flatbuffers. It uses the browser's
// WebSocket; in Node.js before 22, `globalThis.WebSocket = require('ws')` comes first.
//
//     flatc --ts -o generated protocol/schema.fbs
//     tsc --target es2020 --module commonjs --lib es2020,dom --strict client.ts
import * as flatbuffers from 'flatbuffers';
import {AckReply} from './generated/protocol/fbs/ack-reply';
import {BroadcastEvent} from './generated/protocol/fbs/broadcast-event';
import {BroadcastRequest} from './generated/protocol/fbs/broadcast-request';
import {ChannelEvent} from './generated/protocol/fbs/channel-event';
import {DirectEvent} from './generated/protocol/fbs/direct-event';
import {ErrorCode} from './generated/protocol/fbs/error-code';
import {ErrorReply} from './generated/protocol/fbs/error-reply';
import {Message} from './generated/protocol/fbs/message';
import {Opcode} from './generated/protocol/fbs/opcode';
import {PingRequest} from './generated/protocol/fbs/ping-request';
import {PongReply} from './generated/protocol/fbs/pong-reply';
import {PublishRequest} from './generated/protocol/fbs/publish-request';
import {SendRequest} from './generated/protocol/fbs/send-request';
import {SubscribeReply} from './generated/protocol/fbs/subscribe-reply';
import {SubscribeRequest} from './generated/protocol/fbs/subscribe-request';
import {Transport} from './generated/protocol/fbs/transport';
import {UUID} from './generated/protocol/fbs/uuid';
import {WhoAmIReply} from './generated/protocol/fbs/who-am-ireply';

type Id = Uint8Array;   // 16 bytes in the order of the text form

const encode = (text: string) => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array | null) => new TextDecoder().decode(bytes ?? new Uint8Array());
const sameId = (one: Id, other: Id) => one.every((byte, index) => byte === other[index]);

function randomId(): Id {
  return Uint8Array.from({length: 16}, () => Math.floor(Math.random() * 256));
}

function createId(builder: flatbuffers.Builder, id: Id): flatbuffers.Offset {
  const [b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, b15] = id;
  return UUID.createUUID(builder, b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, b15);
}

function idOf(uuid: UUID | null): Id {
  return uuid === null ? new Uint8Array(16) : uuid.bb!.bytes().slice(uuid.bb_pos, uuid.bb_pos + 16);
}

/** A payload: a FlatBuffer of its own, whose type the opcode names. */
function payload(build: (builder: flatbuffers.Builder) => flatbuffers.Offset): Uint8Array {
  const builder = new flatbuffers.Builder(64);
  builder.finish(build(builder));
  return builder.asUint8Array();
}

/** A Message around a payload, with its size in front: what one request is on the wire. */
function frame(opcode: Opcode, content: Uint8Array, transactionId: Id): Uint8Array {
  const builder = new flatbuffers.Builder(256);
  const data = Message.createPayloadVector(builder, content);
  Message.startMessage(builder);
  Message.addOpcode(builder, opcode);
  Message.addTransactionId(builder, createId(builder, transactionId));
  Message.addPayload(builder, data);
  builder.finishSizePrefixed(Message.endMessage(builder));
  return builder.asUint8Array();
}

const buffer = (message: Message) => new flatbuffers.ByteBuffer(message.payloadArray() ?? new Uint8Array());

/** Replies are matched by transaction id; what nobody asked for waits until somebody takes it. */
class Client {
  private arrived: Message[] = [];
  private waiting: Array<() => void> = [];

  constructor(private socket: WebSocket) {
    socket.binaryType = 'arraybuffer';
    socket.onmessage = (event: MessageEvent) => {
      this.split(new Uint8Array(event.data as ArrayBuffer));
      this.waiting.splice(0).forEach((look) => look());
    };
  }

  static open(url: string): Promise<Client> {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(url);
      const client = new Client(socket);
      socket.onopen = () => resolve(client);
      socket.onerror = () => reject(new Error(`cannot connect to ${url}`));
    });
  }

  send(opcode: Opcode, content: Uint8Array = new Uint8Array()): Id {
    const transactionId = randomId();
    this.socket.send(frame(opcode, content, transactionId));
    return transactionId;
  }

  ask(opcode: Opcode, content: Uint8Array = new Uint8Array()): Promise<Message> {
    const transactionId = this.send(opcode, content);
    return this.take((message) => sameId(idOf(message.transactionId()), transactionId));
  }

  next(opcode: Opcode): Promise<Message> {
    return this.take((message) => message.opcode() === opcode);
  }

  close() {
    this.socket.close();
  }

  private async take(fits: (message: Message) => boolean): Promise<Message> {
    for (;;) {
      const index = this.arrived.findIndex(fits);
      if (index >= 0) return this.arrived.splice(index, 1)[0];
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
  }

  /** A WebSocket message holds one or more whole frames. */
  private split(data: Uint8Array) {
    while (data.length > 0) {
      const size = new DataView(data.buffer, data.byteOffset).getUint32(0, true);
      this.arrived.push(Message.getRootAsMessage(new flatbuffers.ByteBuffer(data.slice(4, 4 + size))));
      data = data.subarray(4 + size);
    }
  }
}

function send(session: Id, data: string): Uint8Array {
  return payload((builder) => {
    const vector = SendRequest.createDataVector(builder, encode(data));
    SendRequest.startSendRequest(builder);
    SendRequest.addSession(builder, createId(builder, session));
    SendRequest.addData(builder, vector);
    SendRequest.addRequiresAck(builder, true);
    return SendRequest.endSendRequest(builder);
  });
}

export async function main(url: string, print: (...words: unknown[]) => void) {
  const client = await Client.open(url);

  const me = WhoAmIReply.getRootAsWhoAmIReply(buffer(await client.ask(Opcode.WhoAmI)));
  const session = idOf(me.session());
  print('whoami', Transport[me.transport()], session[6] >> 4);

  const pong = PongReply.getRootAsPongReply(buffer(await client.ask(Opcode.Ping, payload((builder) =>
    PingRequest.createPingRequest(builder, PingRequest.createDataVector(builder, encode('hello')))))));
  print('pong', decode(pong.dataArray()));

  const subscribed = SubscribeReply.getRootAsSubscribeReply(buffer(
    await client.ask(Opcode.ClientSubscribe, payload((builder) => {
      const names = ['news', 'sports'].map((name) => builder.createString(name));
      return SubscribeRequest.createSubscribeRequest(builder,
        SubscribeRequest.createChannelsVector(builder, names));
    }))));
  const codes = Array.from({length: subscribed.resultsLength()}, (_, i) => ErrorCode[subscribed.results(i)!.code()]);
  print('subscribed', ...codes);

  const ack = AckReply.getRootAsAckReply(buffer(await client.ask(Opcode.Publish, payload((builder) =>
    PublishRequest.createPublishRequest(builder, builder.createString('news'),
      PublishRequest.createDataVector(builder, encode('first')), true)))));
  print('ack', ack.offset(), ack.delivered());
  const event = ChannelEvent.getRootAsChannelEvent(buffer(await client.next(Opcode.Event)));
  print('event', event.channel(), event.offset(), decode(event.dataArray()));

  await client.ask(Opcode.Send, send(session, 'to you'));
  const direct = DirectEvent.getRootAsDirectEvent(buffer(await client.next(Opcode.DirectMessage)));
  print('direct', decode(direct.dataArray()), sameId(idOf(direct.from()), session));

  client.send(Opcode.Broadcast, payload((builder) =>
    BroadcastRequest.createBroadcastRequest(builder,
      BroadcastRequest.createDataVector(builder, encode('to all')), false, true)));
  const everyone = BroadcastEvent.getRootAsBroadcastEvent(buffer(await client.next(Opcode.BroadcastMessage)));
  print('broadcast', decode(everyone.dataArray()), sameId(idOf(everyone.from()), session));

  const refused = await client.ask(Opcode.Send, send(randomId(), 'to nobody'));
  const error = ErrorReply.getRootAsErrorReply(buffer(refused));
  print(Opcode[refused.opcode()].toLowerCase(), ErrorCode[error.code()], error.failedOpcode());

  client.close();
}
