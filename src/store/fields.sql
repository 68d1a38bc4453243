-- Which parts of a resource were ours when it was accepted: what is ours, and as JSON what is left over. Null where all of it
-- is, and for what was accepted before this was kept, until it is next seen in agreement.
ALTER TABLE resource ADD COLUMN owned TEXT;
ALTER TABLE resource ADD COLUMN remains TEXT;
