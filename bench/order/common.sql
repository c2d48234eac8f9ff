-- What all ways share: the user's table, and the change rows as the store keeps them, with triggers for whole
-- statements. The ways differ in what `position` is at first (:first), and in the index that a feed reads (:feed).
\set ON_ERROR_STOP on
CREATE TABLE t (
    id uuid PRIMARY KEY, title text NOT NULL, done boolean NOT NULL, n bigint NOT NULL, at timestamptz NOT NULL
);
CREATE SEQUENCE sync_written;
CREATE TABLE sync_change (
    model int, id bytea, kind smallint NOT NULL, position bigint NOT NULL DEFAULT :first,
    stamp bigint NOT NULL, writer int NOT NULL, others jsonb, prev_stamp bigint, prev_writer int, grp bigint NOT NULL,
    origin int, merged text, unknown bytea, stamps jsonb, PRIMARY KEY (model, id)
);
CREATE UNIQUE INDEX sync_change_feed ON sync_change :feed;

-- One row to lock, with the next position.
CREATE TABLE sync_next (one boolean PRIMARY KEY DEFAULT true CHECK (one), next bigint NOT NULL);
INSERT INTO sync_next (next) VALUES (1);

CREATE FUNCTION t_track() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    clock bigint := extract(epoch FROM clock_timestamp()) * 1000000;
    xid bigint := pg_current_xact_id()::text::bigint;
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO sync_change AS c (model, id, kind, stamp, writer, others, grp)
        SELECT 1, uuid_send(n.id), 0, clock, 1, '{}', xid FROM new_rows n
        ON CONFLICT (model, id) DO UPDATE SET kind = 0, position = excluded.position,
            stamp = greatest(excluded.stamp, c.stamp + 1), writer = 1, prev_stamp = c.stamp, prev_writer = c.writer,
            grp = excluded.grp, origin = NULL, merged = NULL, stamps = NULL;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO sync_change AS c (model, id, kind, stamp, writer, others, grp)
        SELECT 1, uuid_send(n.id), 1, clock, 1, '{}', xid FROM new_rows n JOIN old_rows o USING (id)
        WHERE (n.title, n.done, n.n, n.at) IS DISTINCT FROM (o.title, o.done, o.n, o.at)
        ON CONFLICT (model, id) DO UPDATE SET kind = 1, position = excluded.position,
            stamp = greatest(excluded.stamp, c.stamp + 1), writer = 1, prev_stamp = c.stamp, prev_writer = c.writer,
            grp = excluded.grp, origin = NULL, merged = NULL, stamps = NULL;
    ELSE
        INSERT INTO sync_change AS c (model, id, kind, stamp, writer, others, grp)
        SELECT 1, uuid_send(o.id), 2, clock, 1, '{}', xid FROM old_rows o
        ON CONFLICT (model, id) DO UPDATE SET kind = 2, position = excluded.position,
            stamp = greatest(excluded.stamp, c.stamp + 1), writer = 1, prev_stamp = c.stamp, prev_writer = c.writer,
            grp = excluded.grp, origin = NULL, merged = NULL, stamps = NULL;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER t_insert AFTER INSERT ON t REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION t_track();
CREATE TRIGGER t_update AFTER UPDATE ON t REFERENCING NEW TABLE AS new_rows OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION t_track();
CREATE TRIGGER t_delete AFTER DELETE ON t REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION t_track();
