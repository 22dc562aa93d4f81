"""Real WhatsApp: the only room that imports neonize, and only below `client` and `process`.

`client.Client` is one tenant's session, `gate.ConnectGate` what all of a process share, `process` prepares a process
for neonize, `errors` names what the library says in words. Their values are in core.transport.wire.
"""
