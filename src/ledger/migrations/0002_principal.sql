-- Who wrote an event, as the daemon knew it from the connection or the token; never from the event.
-- Null in events from before. No index: it would cost each insert 8 %, and who asks for the events of
-- a writer asks for a time as well.
ALTER TABLE audit_events ADD COLUMN principal text;
