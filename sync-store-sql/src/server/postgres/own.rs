//! The library's own tables, and the function that gives changes their positions.

/// A change that is not committed yet has a position below zero, which counts down; `sync_number` gives it the next one
/// above zero once it is committed. So a position is given out in the order in which readers can see changes.
/// No two changes have one position, but no index has to check it: that would cost a tenth of a tracked insert.
/// `sync_adding` names columns that are new and have not yet taken what peers had sent of them.
///
/// With `partitions`, the notes, among which each scope's own feed is, are spread over so many tables by their rooms.
pub(super) fn tables(own: &str, partitions: Option<u16>) -> String {
    let by_room = if partitions.is_some() { " PARTITION BY HASH (room)" } else { "" };
    let parts = partitions.map_or(0..0, |count| 0..count).map(|part| {
        let of = partitions.unwrap_or_default();
        format!(
            "CREATE TABLE {own}sync_note_{part} PARTITION OF {own}sync_note FOR VALUES WITH (MODULUS {of}, REMAINDER {part});\n"
        )
    });
    let parts: String = parts.collect();
    format!(
        "
CREATE TABLE {own}sync_replica(n int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id bytea NOT NULL UNIQUE);
CREATE TABLE {own}sync_model(n int PRIMARY KEY, name text NOT NULL UNIQUE, \"table\" text NOT NULL UNIQUE);
CREATE TABLE {own}sync_adding(model int4 NOT NULL, field text NOT NULL, PRIMARY KEY (model, field));
CREATE TABLE {own}sync_state(one bool PRIMARY KEY DEFAULT true CHECK (one), format int8 NOT NULL, me int4 NOT NULL,
  keep_through int8);
CREATE TABLE {own}sync_newest(one bool PRIMARY KEY DEFAULT true CHECK (one), newest int8 NOT NULL);
CREATE SEQUENCE {own}sync_written;
CREATE TABLE {own}sync_change(model int4 NOT NULL, id bytea NOT NULL, kind int2 NOT NULL, position int8 NOT NULL,
  stamp int8 NOT NULL, writer int4 NOT NULL, others jsonb, prev_stamp int8, prev_writer int4, grp int8, origin int4,
  merged text, unknown bytea, stamps jsonb, PRIMARY KEY (model, id));
CREATE INDEX sync_change_position ON {own}sync_change(position);
CREATE TABLE {own}sync_note(room text COLLATE \"C\" NOT NULL, k bytea NOT NULL, value bytea NOT NULL,
  PRIMARY KEY (room, k)){by_room};
{parts}INSERT INTO {own}sync_newest(newest) VALUES (0);
"
    )
}

/// Gives what the store knows of itself, see [`Dialect::own`]: in a function, as that keeps its plans, where a script that
/// begins a transaction is planned each time.
///
/// The history is the cluster and the timeline, which a standby leaves when it is promoted; a standby has none of its own
/// yet. A connection never comes into another history, so it is asked once on each.
///
/// [`Dialect::own`]: crate::server::statement::Dialect::own
pub(super) fn knowing(own: &str) -> String {
    format!(
        "CREATE OR REPLACE FUNCTION {own}sync_own(OUT me text, OUT keep text, OUT newest text, OUT history text)
LANGUAGE plpgsql AS $sync$
BEGIN
  SELECT s.me::text, s.keep_through::text, (SELECT n.newest::text FROM {own}sync_newest n)
    INTO me, keep, newest FROM {own}sync_state s;
  history := nullif(current_setting('sync.history', true), '');
  IF history IS NULL THEN
    history := set_config('sync.history', (SELECT system_identifier::text FROM pg_control_system()) || ' ' ||
      CASE WHEN pg_is_in_recovery() THEN NULL ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END, false);
  END IF;
END $sync$"
    )
}

/// Numbers the committed changes that have no position yet, and gives the newest position.
///
/// One at a time does so. It takes the changes that nobody is writing just now, and of those only groups that it has
/// whole: a transaction's changes get their positions together or not at all. What it has locked cannot change between
/// the two looks, and what another transaction commits in between is seen by the second one, which leaves its group for
/// the next time. Groups come in the order of their last writes, so that what refers to a record that was already
/// visible comes after it.
pub(super) fn numbering(schema: &str, own: &str) -> String {
    format!(
        "CREATE OR REPLACE FUNCTION {own}sync_number() RETURNS int8 LANGUAGE plpgsql
SET search_path = {schema}, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET enable_nestloop = off
SET jit = off AS $sync$
DECLARE sync_last int8; sync_free int8[];
BEGIN
  IF NOT EXISTS (SELECT FROM {own}sync_change WHERE position < 0) THEN
    RETURN (SELECT newest FROM {own}sync_newest);
  END IF;
  SELECT newest INTO sync_last FROM {own}sync_newest FOR UPDATE;
  SELECT array_agg(coalesce(f.grp, f.position)) INTO sync_free
    FROM (SELECT position, grp FROM {own}sync_change WHERE position < 0 FOR UPDATE SKIP LOCKED) f;
  IF sync_free IS NULL THEN RETURN sync_last; END IF;
  WITH free AS MATERIALIZED (
    SELECT g AS unit, count(*) AS changes FROM unnest(sync_free) g GROUP BY g
  ), pending AS MATERIALIZED (
    SELECT c.model, c.id, c.position, c.grp, coalesce(c.grp, c.position) AS unit, count(*) OVER w AS changes,
      min(c.position) OVER w AS ended
    FROM {own}sync_change c WHERE c.position < 0 WINDOW w AS (PARTITION BY coalesce(c.grp, c.position))
  ), placed AS MATERIALIZED (
    SELECT p.model, p.id, p.position, p.grp, p.unit, sync_last + row_number() OVER (ORDER BY p.ended DESC, p.position DESC) AS place
    FROM pending p JOIN free f ON f.unit = p.unit AND f.changes = p.changes
  ), named AS MATERIALIZED (
    SELECT model, id, position, place, CASE WHEN grp IS NOT NULL THEN min(place) OVER (PARTITION BY unit) END AS grp FROM placed
  ), moved AS (
    UPDATE {own}sync_change c SET position = n.place, grp = n.grp FROM named n
    WHERE c.position = n.position AND c.position < 0 AND c.model = n.model AND c.id = n.id RETURNING n.place
  )
  SELECT coalesce(max(m.place), sync_last) INTO sync_last FROM moved m;
  UPDATE {own}sync_newest SET newest = sync_last WHERE newest < sync_last;
  RETURN sync_last;
END $sync$"
    )
}
