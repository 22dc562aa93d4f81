"""Whoever writes STOP is left in peace, and comes back with START.

The list is kept by the people on it: `gateway.opt_outs` takes the message that said so, and keeps it as the proof. The
Deny holds for those who stand there (looked up inside the statement that admits a message), and no whitelist overrides
it. One message passes: this plugin's own, the confirmation, and `add` is true for one STOP only. It looks at a message
before all other plugins (`tryfirst`), so that whatever they answer to a STOP is refused already.
"""

import unicodedata
from dataclasses import dataclass

from core import Deny, Gateway, Incoming, Listed, Outgoing, Reply, hookimpl

# Not "cancel", "batal", "end" or "no": those also answer a shop's question.
STOP = ("stop", "stop all", "unsubscribe", "opt out", "optout", "berhenti", "berhenti berlangganan", "unreg")
START = ("start", "unstop", "subscribe", "mulai", "berlangganan")
GOODBYE = "You get no more messages; START brings them back. / Kami berhenti mengirim pesan; balas MULAI untuk kembali."
WELCOME = "You get our messages again; STOP ends them. / Anda menerima pesan kami lagi; balas BERHENTI untuk berhenti."
LONGEST = 200


@dataclass(frozen=True)
class Options:
    stop: tuple[str, ...] = STOP
    start: tuple[str, ...] = START
    confirmation: str = GOODBYE
    welcome_back: str = WELCOME
    allow_transactional: bool = False

    def __post_init__(self) -> None:
        stop, start = set(map(plain, self.stop)), set(map(plain, self.start))
        if "" in stop | start or stop & start:
            raise ValueError("stop and start need words of letters or digits, and none that stands in both")


@hookimpl
def admit(message: Outgoing, options: Options) -> Deny | None:
    if message.author == "opt_out" or (message.transactional and options.allow_transactional):
        return None
    return Deny("opted_out", "this person asked for no more messages", when=Listed.OPT_OUT)


@hookimpl(tryfirst=True)
async def on_message(message: Incoming, options: Options, gateway: Gateway) -> Reply | None:
    if message.chat.endswith("@g.us") or len(message.content) > LONGEST:
        return None
    said, answer = plain(message.content), ""
    if said in map(plain, options.stop) and await gateway.opt_outs.add(message):
        answer = options.confirmation
    elif said in map(plain, options.start) and await gateway.opt_outs.remove(message):
        answer = options.welcome_back
    return message.reply(answer) if answer else None


def plain(text: str) -> str:
    """The words, without signs and capitals: "*Stop!*" is "stop"."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(sign if sign.isalnum() else " " for sign in folded).split())
