-- The trace of its caller that a job belongs to: a W3C traceparent.
ALTER TABLE jobs ADD COLUMN traceparent text;
