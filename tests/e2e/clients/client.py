#!/usr/bin/python3
"""A client of Corelane in Python, on nothing but what flatc generates and two packages: flatbuffers, websockets.

    flatc --python -o generated protocol/schema.fbs
    PYTHONPATH=generated python3 client.py ws://127.0.0.1:8080/
"""

import asyncio
import struct
import sys
import uuid

import flatbuffers
import websockets

from protocol.fbs import (AckReply, BroadcastEvent, BroadcastRequest, ChannelEvent, DirectEvent, ErrorReply, Message,
                          PingRequest, PongReply, PublishRequest, SendRequest, SubscribeReply, SubscribeRequest, UUID,
                          WhoAmIReply)
from protocol.fbs.ErrorCode import ErrorCode
from protocol.fbs.Opcode import Opcode
from protocol.fbs.Transport import Transport


def name_of(enum, value):
    return next((name for name, number in vars(enum).items() if number == value), str(value))


def uuid_of(struct_):
    """A UUID is 16 bytes in the order of its text; absent says nil."""
    if struct_ is None:
        return uuid.UUID(int=0)
    return uuid.UUID(bytes=bytes(struct_._tab.Bytes[struct_._tab.Pos:struct_._tab.Pos + 16]))


def bytes_of(length, get):
    return bytes(get(index) for index in range(length))


def frame(opcode, payload, transaction_id):
    """A Message around a payload, with its size in front: what one request is on the wire."""
    builder = flatbuffers.Builder(256)
    data = builder.CreateByteVector(payload)
    Message.MessageStart(builder)
    Message.MessageAddOpcode(builder, opcode)
    Message.MessageAddTransactionId(builder, UUID.CreateUUID(builder, *transaction_id.bytes))
    Message.MessageAddPayload(builder, data)
    builder.FinishSizePrefixed(Message.MessageEnd(builder))
    return bytes(builder.Output())


def ping(data):
    builder = flatbuffers.Builder(64)
    vector = builder.CreateByteVector(data)
    PingRequest.PingRequestStart(builder)
    PingRequest.PingRequestAddData(builder, vector)
    builder.Finish(PingRequest.PingRequestEnd(builder))
    return bytes(builder.Output())


def subscribe(channels):
    builder = flatbuffers.Builder(64)
    names = [builder.CreateString(channel) for channel in channels]
    SubscribeRequest.SubscribeRequestStartChannelsVector(builder, len(names))
    for name in reversed(names):
        builder.PrependUOffsetTRelative(name)
    vector = builder.EndVector()
    SubscribeRequest.SubscribeRequestStart(builder)
    SubscribeRequest.SubscribeRequestAddChannels(builder, vector)
    builder.Finish(SubscribeRequest.SubscribeRequestEnd(builder))
    return bytes(builder.Output())


def publish(channel, data):
    builder = flatbuffers.Builder(64)
    name, vector = builder.CreateString(channel), builder.CreateByteVector(data)
    PublishRequest.PublishRequestStart(builder)
    PublishRequest.PublishRequestAddChannel(builder, name)
    PublishRequest.PublishRequestAddData(builder, vector)
    PublishRequest.PublishRequestAddRequiresAck(builder, True)
    builder.Finish(PublishRequest.PublishRequestEnd(builder))
    return bytes(builder.Output())


def send(session, data):
    builder = flatbuffers.Builder(64)
    vector = builder.CreateByteVector(data)
    SendRequest.SendRequestStart(builder)
    SendRequest.SendRequestAddSession(builder, UUID.CreateUUID(builder, *session.bytes))
    SendRequest.SendRequestAddData(builder, vector)
    SendRequest.SendRequestAddRequiresAck(builder, True)
    builder.Finish(SendRequest.SendRequestEnd(builder))
    return bytes(builder.Output())


def broadcast(data):
    builder = flatbuffers.Builder(64)
    vector = builder.CreateByteVector(data)
    BroadcastRequest.BroadcastRequestStart(builder)
    BroadcastRequest.BroadcastRequestAddData(builder, vector)
    BroadcastRequest.BroadcastRequestAddIncludeSelf(builder, True)
    builder.Finish(BroadcastRequest.BroadcastRequestEnd(builder))
    return bytes(builder.Output())


class Client:
    """Replies are matched by transaction id; what nobody asked for waits until somebody takes it."""

    def __init__(self, socket):
        self.socket = socket
        self.arrived = []

    async def ask(self, opcode, payload=b''):
        transaction_id = uuid.uuid4()
        await self.socket.send(frame(opcode, payload, transaction_id))
        return await self.take(lambda message: uuid_of(message.TransactionId()) == transaction_id)

    async def take(self, fits):
        """The first message that fits: its opcode, and the bytes of its payload."""
        while True:
            for message in self.arrived:
                if fits(message):
                    self.arrived.remove(message)
                    return message.Opcode(), bytes_of(message.PayloadLength(), message.Payload)
            self.split(await self.socket.recv())

    async def next(self, opcode):
        return (await self.take(lambda message: message.Opcode() == opcode))[1]

    def split(self, data):
        """A WebSocket message holds one or more whole frames."""
        while data:
            size, = struct.unpack_from('<I', data)
            self.arrived.append(Message.Message.GetRootAs(data[4:4 + size], 0))
            data = data[4 + size:]


async def main(url):
    async with websockets.connect(url) as socket:
        client = Client(socket)

        _, payload = await client.ask(Opcode.WhoAmI)
        me = WhoAmIReply.WhoAmIReply.GetRootAs(payload, 0)
        session = uuid_of(me.Session())
        print('whoami', name_of(Transport, me.Transport()), session.version)

        _, payload = await client.ask(Opcode.Ping, ping(b'hello'))
        pong = PongReply.PongReply.GetRootAs(payload, 0)
        print('pong', bytes_of(pong.DataLength(), pong.Data).decode())

        _, payload = await client.ask(Opcode.ClientSubscribe, subscribe(['news', 'sports']))
        reply = SubscribeReply.SubscribeReply.GetRootAs(payload, 0)
        print('subscribed', *(name_of(ErrorCode, reply.Results(i).Code()) for i in range(reply.ResultsLength())))

        _, payload = await client.ask(Opcode.Publish, publish('news', b'first'))
        ack = AckReply.AckReply.GetRootAs(payload, 0)
        print('ack', ack.Offset(), ack.Delivered())
        event = ChannelEvent.ChannelEvent.GetRootAs(await client.next(Opcode.Event), 0)
        print('event', event.Channel().decode(), event.Offset(), bytes_of(event.DataLength(), event.Data).decode())

        await client.ask(Opcode.Send, send(session, b'to you'))
        direct = DirectEvent.DirectEvent.GetRootAs(await client.next(Opcode.DirectMessage), 0)
        print('direct', bytes_of(direct.DataLength(), direct.Data).decode(), uuid_of(direct.From_()) == session)

        await socket.send(frame(Opcode.Broadcast, broadcast(b'to all'), uuid.uuid4()))
        everyone = BroadcastEvent.BroadcastEvent.GetRootAs(await client.next(Opcode.BroadcastMessage), 0)
        print('broadcast', bytes_of(everyone.DataLength(), everyone.Data).decode(),
              uuid_of(everyone.From_()) == session)

        opcode, payload = await client.ask(Opcode.Send, send(uuid.uuid4(), b'to nobody'))
        error = ErrorReply.ErrorReply.GetRootAs(payload, 0)
        print(name_of(Opcode, opcode).lower(), name_of(ErrorCode, error.Code()), error.FailedOpcode())


if __name__ == '__main__':
    asyncio.run(main(sys.argv[1]))
