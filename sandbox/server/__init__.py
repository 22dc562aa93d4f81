"""The server's side: sockets, pairing, login, iqs, the relay of stanzas between devices, and what is kept on disk."""
