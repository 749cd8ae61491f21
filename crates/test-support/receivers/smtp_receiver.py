"""A mail server (aiosmtpd). Argument: a folder with settings.json.

Writes its port to `port`, and a line of JSON per event to `record`, before it answers: the bytes
that came over TCP ("bytes"), the handshake of STARTTLS ("starttls"), a log-in ("auth"), a mail.
"""

import asyncio
import email
import email.policy
import json
import logging
import os
import ssl
import sys
import warnings

from aiosmtpd.smtp import SMTP, AuthResult

# About the log-in without TLS, which is asked for here.
warnings.simplefilter("ignore")
logging.disable()

folder = sys.argv[1]
settings = json.load(open(os.path.join(folder, "settings.json")))
canary = settings["canary"]
behaviour = settings["behaviour"]


def record(event, **more):
    with open(os.path.join(folder, "record"), "a") as file:
        file.write(json.dumps({"event": event, **more}) + "\n")


def answer(good):
    """«550 CANARY» where the behaviour is «rcpt 550», and so on."""
    command, _, status = behaviour.partition(" ")
    return lambda at: f"{status} {canary}" if at == command else good


class Handler:
    async def handle_MAIL(self, server, session, envelope, address, options):
        envelope.mail_from = address
        return answer("250 OK")("mail")

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("unknown@"):
            return f"550 {canary}"
        envelope.rcpt_tos.append(address)
        return answer("250 OK")("rcpt")

    async def handle_DATA(self, server, session, envelope):
        if behaviour == "hang at data":
            await asyncio.sleep(600)
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        record(
            "mail",
            mail_from=envelope.mail_from,
            rcpt_tos=envelope.rcpt_tos,
            tls=session.ssl is not None or settings["security"] == "tls",
            authenticated=bool(session.authenticated),
            headers={name.lower(): str(value) for name, value in mail.items()},
            text=mail.get_content(),
            defects=[str(defect) for defect in mail.defects],
        )
        return answer("250 OK")("data")

    def handle_STARTTLS(self, server, session, envelope):
        record("starttls")
        return True

    async def handle_QUIT(self, server, session, envelope):
        if behaviour == "hang at quit":
            await asyncio.sleep(600)
        return "221 Bye"


def authenticator(server, session, envelope, mechanism, data):
    login, password = data.login.decode(), data.password.decode()
    record("auth", mechanism=mechanism, login=login)
    if behaviour == "auth 454":
        return AuthResult(success=False, handled=False, message=f"454 {canary}")
    good = [login, password] == settings["login"]
    return AuthResult(success=good, handled=False, message=None if good else f"535 {canary}")


class Server(SMTP):
    def data_received(self, data):
        record("bytes", text=data.decode("latin-1"))
        super().data_received(data)

    async def push(self, status):
        # As an attacker in the middle could add to the last reply before TLS.
        if behaviour == "inject" and status.startswith("220 Ready"):
            status += f"\r\n554 {canary}"
        await super().push(status)

    async def smtp_STARTTLS(self, arg):
        if behaviour.startswith("starttls "):
            await self.push(answer("")("starttls"))
        else:
            await super().smtp_STARTTLS(arg)


class Silent(asyncio.Protocol):
    """Accepts, and does not greet."""

    def data_received(self, data):
        record("bytes", text=data.decode("latin-1"))


class Endless(asyncio.Protocol):
    """Greets without end, in one line."""

    def connection_made(self, transport):
        self.transport, self.paused = transport, False
        transport.write(b"220 ")
        self.go_on()

    def go_on(self):
        if not self.transport.is_closing():
            if not self.paused:
                self.transport.write(canary.encode() * 1000)
            asyncio.get_running_loop().call_later(0.001, self.go_on)

    def pause_writing(self):
        self.paused = True

    def resume_writing(self):
        self.paused = False


def context():
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(os.path.join(folder, "server.pem"), os.path.join(folder, "server.key"))
    return tls


def protocol():
    if behaviour == "silent":
        return Silent()
    if behaviour == "endless":
        return Endless()
    starttls = settings["security"] == "starttls"
    return Server(
        Handler(),
        hostname="receiver.test",
        ident=f"{canary} ready",
        loop=asyncio.get_running_loop(),
        tls_context=context() if starttls else None,
        # Whether the client keeps its password for TLS is the question.
        auth_require_tls=False,
        authenticator=authenticator,
        auth_required=settings["login"] is not None,
        auth_exclude_mechanism=settings["excluded"],
    )


async def main():
    tls = context() if settings["security"] == "tls" else None
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, ssl=tls)
    with open(os.path.join(folder, "port.new"), "w") as port:
        port.write(str(server.sockets[0].getsockname()[1]))
    os.rename(os.path.join(folder, "port.new"), os.path.join(folder, "port"))
    await server.serve_forever()


asyncio.run(main())
