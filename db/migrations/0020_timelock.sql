-- WhatsApp takes no new conversations of the number for a while (463): how often in a row it has said so, and until when none is to be
-- tried. Whoever holds the session next keeps to it, and does not begin with a try of its own.
ALTER TABLE sessions ADD COLUMN refusals integer NOT NULL DEFAULT 0, ADD COLUMN refused_until timestamptz;
