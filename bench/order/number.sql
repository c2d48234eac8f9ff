-- Gives positions to what was committed since the last call, and returns to how many changes. It has to run in a
-- transaction of its own, READ COMMITTED: each statement must see what was committed before it.
CREATE FUNCTION sync_number() RETURNS bigint LANGUAGE plpgsql VOLATILE
-- Whatever the statistics say: pending rows are found by the index, and joined in one pass.
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_nestloop = off SET jit = off
AS $$
DECLARE
    first bigint;
    locked bigint[];
    numbered bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' OR pg_current_xact_id_if_assigned() IS NOT NULL THEN
        RAISE EXCEPTION 'sync_number() needs a READ COMMITTED transaction of its own' USING ERRCODE = '25001';
    END IF;
    -- Nothing pending: no lock, no transaction id, no commit to wait for.
    IF NOT EXISTS (SELECT FROM sync_change WHERE position < 0) THEN
        RETURN 0;
    END IF;
    -- What is numbered is durable before it is seen, also where its writer did not wait for the disk.
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    -- One numbering after the other, to its commit; so positions become visible in their order.
    SELECT next INTO first FROM sync_next WHERE one FOR UPDATE;
    -- Lock what is pending and has no open writer. A row that was rewritten since this statement began comes as it is
    -- now, with its new group. From here on no row that is counted here changes.
    SELECT array_agg(l.grp) INTO locked
    FROM (SELECT grp FROM sync_change WHERE position < 0 FOR UPDATE SKIP LOCKED) l;
    IF locked IS NULL THEN
        RETURN 0;
    END IF;
    -- This statement sees every row of every group that has a row among the locked ones, as those have committed. A
    -- group of which more rows are pending than are locked waits until the writer of the others is done. The last
    -- number written decides between groups: who saw the other's commit and then wrote has the higher one.
    WITH mine AS MATERIALIZED (
        SELECT g AS grp, count(*) AS rows FROM unnest(locked) g GROUP BY g
    ), pending AS MATERIALIZED (
        SELECT position, grp, count(*) OVER w AS rows, min(position) OVER w AS last
        FROM sync_change WHERE position < 0 WINDOW w AS (PARTITION BY grp)
    ), place AS MATERIALIZED (
        SELECT p.position, first - 1 + row_number() OVER (ORDER BY p.last DESC, p.position DESC) AS place
        FROM pending p JOIN mine m ON m.grp = p.grp AND m.rows = p.rows
    )
    UPDATE sync_change c SET position = place.place FROM place WHERE c.position = place.position AND c.position < 0;
    GET DIAGNOSTICS numbered = ROW_COUNT;
    UPDATE sync_next SET next = first + numbered WHERE one AND numbered > 0;
    RETURN numbered;
END $$;
