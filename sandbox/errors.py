"""What can go wrong when a test, the control API or a session process asks something of the sandbox."""

from __future__ import annotations


class SandboxError(Exception):
    """The sandbox could not do what was asked; the text says why and what to do."""


class UnknownQr(SandboxError):
    """No client shows this QR code now: it ran out, was scanned already, or is of another sandbox."""


class UnknownCode(SandboxError):
    """No client waits for this pairing code for this number, or the code is mistyped."""


class PairingRefused(SandboxError):
    """The client did not accept the link that the phone offered."""


class UnknownNumber(SandboxError):
    """No account has this number, or it is not written in digits."""


class UnknownDevice(SandboxError):
    """The account has no such device, or the device is not connected."""


class UnknownMessage(SandboxError):
    """The phone never saw a message with this id."""


class StateInUse(SandboxError):
    """Another sandbox keeps its state in this folder."""


class AttachError(SandboxError):
    """The neonize of this process cannot be pointed at a sandbox."""
