//! The library's own tables, and what gives changes their positions.

use crate::server::transaction::rows::OWN;

/// What every table of ours is.
pub(super) const OPTIONS: &str =
    " ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin";

/// A change that is not committed yet has a position below zero, which counts down; the numbering gives it the next one
/// above zero once it is committed. So a position is given out in the order in which readers can see changes. Until then
/// its writer may be [`OWN`]; the numbering writes the store's name into it.
///
/// What a writing library hands to the triggers stands in `sync_writing`, one row a connection, and the records that it
/// tracks by itself in `sync_put`: written and deleted in the same transaction, so that nobody else ever sees them and
/// a rollback takes them away. `sync_adding` names columns that are new and have not yet taken what peers
/// had sent of them.
pub(super) fn tables(own: &str) -> String {
    format!(
        "
CREATE TABLE IF NOT EXISTS {own}sync_replica(n INT NOT NULL AUTO_INCREMENT PRIMARY KEY, id BINARY(16) NOT NULL UNIQUE){OPTIONS};
CREATE TABLE IF NOT EXISTS {own}sync_model(n INT NOT NULL PRIMARY KEY, name VARCHAR(255) NOT NULL UNIQUE,
  `table` VARCHAR(64) NOT NULL UNIQUE){OPTIONS};
CREATE TABLE IF NOT EXISTS {own}sync_newest(one TINYINT NOT NULL PRIMARY KEY CHECK (one = 1), newest BIGINT NOT NULL){OPTIONS};
INSERT IGNORE INTO {own}sync_newest(one, newest) VALUES (1, 0);
CREATE SEQUENCE IF NOT EXISTS {own}sync_written START WITH 1 INCREMENT BY 1 CACHE 1000 ENGINE=InnoDB;
CREATE TABLE IF NOT EXISTS {own}sync_change(model INT NOT NULL, id VARBINARY(255) NOT NULL, kind TINYINT NOT NULL,
  position BIGINT NOT NULL, stamp BIGINT NOT NULL, writer INT NOT NULL, others LONGTEXT, prev_stamp BIGINT,
  prev_writer INT, grp BIGINT, origin INT, merged TEXT, unknown LONGBLOB, stamps LONGTEXT,
  PRIMARY KEY (model, id), UNIQUE KEY sync_change_position (position)){OPTIONS};
CREATE TABLE IF NOT EXISTS {own}sync_note(room VARBINARY(16) NOT NULL, k VARBINARY(3000) NOT NULL, value LONGBLOB NOT NULL,
  PRIMARY KEY (room, k)){OPTIONS};
CREATE TABLE IF NOT EXISTS {own}sync_writing(connection BIGINT NOT NULL PRIMARY KEY, stamp BIGINT, grp BIGINT,
  put_model INT, turn BIGINT){OPTIONS};
CREATE TABLE IF NOT EXISTS {own}sync_put(connection BIGINT NOT NULL, turn BIGINT NOT NULL, id VARBINARY(255) NOT NULL,
  PRIMARY KEY (connection, turn, id)){OPTIONS};
CREATE TABLE IF NOT EXISTS {own}sync_adding(model INT NOT NULL, field VARCHAR(255) NOT NULL,
  PRIMARY KEY (model, field)){OPTIONS};
CREATE TABLE IF NOT EXISTS {own}sync_state(one TINYINT NOT NULL PRIMARY KEY DEFAULT 1 CHECK (one = 1),
  format INT NOT NULL, me INT NOT NULL, keep_through BIGINT){OPTIONS};
"
    )
}

/// Numbers the committed changes that have no position yet.
///
/// One at a time does so. It takes the changes that nobody is writing just now, and of those only groups that it has
/// whole: a transaction's changes get their positions together or not at all. What it has locked cannot change between
/// the two looks, and what another transaction commits in between is seen by the second one, which leaves its group for
/// the next time. Groups come in the order of their last writes, so that what refers to a record that was already
/// visible comes after it.
///
/// Only statements that read without locks look at rows that others may hold: a `SELECT … INTO` does so, and in
/// `READ COMMITTED` an `INSERT … SELECT`. An `UPDATE` that joins would wait, and so would an `IF EXISTS (SELECT …)`.
pub(super) fn numbering(own: &str) -> String {
    format!(
        "BEGIN NOT ATOMIC
  DECLARE sync_last, sync_first, sync_me BIGINT;
  SELECT min(c.position) INTO sync_first FROM {own}sync_change c;
  IF sync_first < 0 THEN
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    START TRANSACTION READ WRITE;
    DROP TEMPORARY TABLE IF EXISTS {own}sync_free, {own}sync_place;
    CREATE TEMPORARY TABLE {own}sync_free(position BIGINT NOT NULL PRIMARY KEY, unit BIGINT NOT NULL) ENGINE=InnoDB;
    CREATE TEMPORARY TABLE {own}sync_place(position BIGINT NOT NULL PRIMARY KEY, place BIGINT NOT NULL, grp BIGINT)
      ENGINE=InnoDB;
    SELECT newest INTO sync_last FROM {own}sync_newest FOR UPDATE;
    SELECT me INTO sync_me FROM {own}sync_state;
    INSERT INTO {own}sync_free SELECT c.position, coalesce(c.grp, c.position)
      FROM {own}sync_change c FORCE INDEX (sync_change_position) WHERE c.position < 0 FOR UPDATE SKIP LOCKED;
    INSERT INTO {own}sync_place
      SELECT n.position, n.place, CASE WHEN n.grp IS NOT NULL THEN min(n.place) OVER (PARTITION BY n.unit) END
      FROM (SELECT p.position, p.grp, p.unit,
              sync_last + row_number() OVER (ORDER BY p.ended DESC, p.position DESC) AS place
            FROM (SELECT c.position, c.grp, coalesce(c.grp, c.position) AS unit,
                    count(*) OVER (PARTITION BY coalesce(c.grp, c.position)) AS changes,
                    min(c.position) OVER (PARTITION BY coalesce(c.grp, c.position)) AS ended
                  FROM {own}sync_change c FORCE INDEX (sync_change_position) WHERE c.position < 0) p
            JOIN (SELECT unit, count(*) AS changes FROM {own}sync_free GROUP BY unit) f
              ON f.unit = p.unit AND f.changes = p.changes) n;
    UPDATE {own}sync_place n STRAIGHT_JOIN {own}sync_change c FORCE INDEX (sync_change_position)
      ON c.position = n.position SET c.position = n.place, c.grp = n.grp, c.writer = IF(c.writer = {OWN}, sync_me, c.writer);
    UPDATE {own}sync_newest SET newest = greatest(newest, coalesce((SELECT max(n.place) FROM {own}sync_place n), 0));
    COMMIT;
    DROP TEMPORARY TABLE {own}sync_free, {own}sync_place;
  END IF;
END; "
    )
}
