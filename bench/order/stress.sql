-- The tables of the stress run: what writers committed, where each puller is, and what it has.
CREATE TABLE written (tx bigint, id uuid);
CREATE TABLE puller (puller int PRIMARY KEY, since bigint NOT NULL DEFAULT 0, pages bigint NOT NULL DEFAULT 0);
INSERT INTO puller SELECT generate_series(0, 3);
CREATE TABLE pulled (puller int, id bytea, position bigint, grp bigint, stamp bigint, PRIMARY KEY (puller, id));
CREATE TABLE wrong (what text, grp bigint, at timestamptz DEFAULT clock_timestamp());
INSERT INTO t SELECT ('00000000-0000-0000-0000-' || lpad(i::text, 12, '0'))::uuid, 'hot', false, 0, now()
FROM generate_series(1, 60) i;

-- A page in one snapshot, laid over what the puller has.
CREATE FUNCTION pull(who int, page int) RETURNS void LANGUAGE sql AS $$
    WITH page AS MATERIALIZED (
        SELECT c.id, c.position, c.grp, c.stamp FROM sync_change c
        WHERE c.position > (SELECT since FROM puller WHERE puller = who) ORDER BY c.position LIMIT page
    ), kept AS (
        INSERT INTO pulled SELECT who, id, position, grp, stamp FROM page
        ON CONFLICT (puller, id) DO UPDATE SET position = excluded.position, grp = excluded.grp, stamp = excluded.stamp
    )
    UPDATE puller SET since = greatest(since, (SELECT max(position) FROM page)), pages = pages + 1 WHERE puller = who;
$$;

-- In one snapshot: a group of which some rows are numbered and some are pending, or that others stand between.
CREATE FUNCTION torn() RETURNS void LANGUAGE sql AS $$
    INSERT INTO wrong
    SELECT 'torn', p.grp FROM sync_change p
    WHERE p.position < 0 AND EXISTS (SELECT FROM sync_change q WHERE q.grp = p.grp AND q.position > 0)
    UNION ALL
    SELECT 'mixed', grp FROM (
        SELECT grp, lag(grp) OVER (ORDER BY position) <> grp AS begins FROM sync_change WHERE position > 0
    ) r WHERE begins GROUP BY grp HAVING count(*) > 1;
$$;
CREATE INDEX sync_change_grp ON sync_change (grp);
CREATE INDEX t_title ON t (title);

-- Rewrites hot rows in the order of their ids.
CREATE FUNCTION hot(at int, rows int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN at .. at + rows - 1 LOOP
        UPDATE t SET n = n + 1, title = pg_current_xact_id()::text
        WHERE id = ('00000000-0000-0000-0000-' || lpad(i::text, 12, '0'))::uuid;
    END LOOP;
END $$;

-- After the end: what a puller does not have as it was committed, or has and nobody committed.
CREATE VIEW missed AS
SELECT p.puller, c.id FROM puller p CROSS JOIN sync_change c LEFT JOIN pulled u ON u.puller = p.puller AND u.id = c.id
WHERE (u.position, u.grp, u.stamp) IS DISTINCT FROM (c.position, c.grp, c.stamp)
UNION ALL
SELECT u.puller, u.id FROM pulled u WHERE u.grp > (SELECT min(tx) FROM written)
    AND NOT EXISTS (SELECT FROM written w WHERE w.tx = u.grp AND uuid_send(w.id) = u.id)
UNION ALL
SELECT NULL, uuid_send(t.id) FROM t WHERE NOT EXISTS (SELECT FROM sync_change c WHERE c.id = uuid_send(t.id))
UNION ALL
SELECT NULL, uuid_send(w.id) FROM written w WHERE NOT EXISTS (SELECT FROM t WHERE t.id = w.id);
