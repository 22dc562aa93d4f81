"""What goes over the wire: protobuf, binary XML, Noise, certificates, Signal sessions, app state. No I/O, no server.

The formats were read in the sources of whatsmeow (commit e277b766ab33, inside neonize 0.5.2) and confirmed by running
the real client against this code.
"""
