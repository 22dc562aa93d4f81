-- What an incoming message refers to: the WhatsApp id of the message that it quotes, and the recipient keys that it mentions.
ALTER TABLE incoming_messages ADD COLUMN reply_to text, ADD COLUMN mentions text[] NOT NULL DEFAULT '{}';
