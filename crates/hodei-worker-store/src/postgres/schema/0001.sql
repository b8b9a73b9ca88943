-- The first version. {schema}, {draw} and {writers} are filled in by `migrate.rs`.

CREATE TABLE {schema}.log (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    id text NOT NULL,
    -- The last position that was compacted away.
    compacted bigint NOT NULL DEFAULT 0
);

CREATE SEQUENCE {schema}.positions;
CREATE SEQUENCE {schema}.lease_ids;

CREATE TABLE {schema}.leases (
    id bigint PRIMARY KEY,
    host text NOT NULL,
    ttl interval NOT NULL,
    ends_at timestamptz NOT NULL,
    -- Given up or taken over: it never comes back.
    is_over boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);

-- One row for each worker's present stream.
CREATE TABLE {schema}.heads (
    worker text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL,
    -- The positions of its first and its last event. Events before the first are an earlier stream's.
    first bigint NOT NULL,
    last bigint NOT NULL,
    lease bigint NOT NULL,
    owner_epoch bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70);
CREATE INDEX heads_by_lease ON {schema}.heads (lease, worker);

CREATE TABLE {schema}.events (
    position bigint PRIMARY KEY,
    worker text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    -- The transaction that wrote it: see `draw`.
    written_by xid8 NOT NULL,
    event bytea NOT NULL,
    seal bytea NOT NULL
);
CREATE INDEX events_by_worker ON {schema}.events (worker, version, position);

CREATE TABLE {schema}.snapshots (
    worker text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL,
    position bigint NOT NULL,
    state bytea NOT NULL,
    seal bytea NOT NULL
) WITH (fillfactor = 70);

CREATE TABLE {schema}.state (
    key text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL,
    value bytea NOT NULL,
    seal bytea NOT NULL
) WITH (fillfactor = 70);

-- Binds bytes to their place. `seal.rs` computes the same.
CREATE FUNCTION {schema}.seal(what text, place bigint, version bigint, bytes bytea) RETURNS bytea
LANGUAGE sql STABLE AS $$
    SELECT substr(sha256(
        int8send(place) || int8send(version) || int4send(octet_length(what)) || convert_to(what, 'UTF8') || bytes
    ), 1, 8)
$$;

-- The key of the lock by which a writing transaction tells that it is one.
CREATE FUNCTION {schema}.writer_key(writer xid8) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT ((writer::text::numeric % 4294967296) - 2147483648)::integer
$$;

-- Draws `total` positions in a row and gives the first. It has to be the first thing that a transaction writes, for it
-- gives the transaction its number and its positions in one step that no other writer is in: who has the lower positions
-- has the lower number. So all that can still become visible before an event was written by a transaction with a lower
-- number that still runs.
CREATE FUNCTION {schema}.draw(total bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    base bigint;
BEGIN
    PERFORM pg_advisory_lock({draw});
    PERFORM pg_advisory_xact_lock({writers}, {schema}.writer_key(pg_current_xact_id()));
    base := nextval('{schema}.positions');
    IF total > 1 THEN
        PERFORM setval('{schema}.positions', base + total - 1);
    END IF;
    PERFORM pg_advisory_unlock({draw});
    RETURN base;
END
$$;

-- The number below which no writer is at work any more. A transaction of somebody else that stays open does not hold it
-- back: it has no writer's lock.
CREATE FUNCTION {schema}.settled() RETURNS xid8 LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    seen pg_snapshot;
    running xid8;
BEGIN
    -- Nobody is between a number and its lock.
    PERFORM pg_advisory_lock_shared({draw});
    SELECT pg_current_snapshot() INTO seen;
    PERFORM pg_advisory_unlock_shared({draw});
    FOR running IN SELECT number FROM pg_snapshot_xip(seen) AS number ORDER BY number LOOP
        IF NOT pg_try_advisory_xact_lock_shared({writers}, {schema}.writer_key(running)) THEN
            RETURN running;
        END IF;
    END LOOP;
    RETURN pg_snapshot_xmax(seen);
END
$$;

-- Up to `count` events after that position, and how far the log was compacted away: in a row without an event, if there
-- is none.
CREATE FUNCTION {schema}.read_log(after bigint, count bigint)
RETURNS TABLE (compacted bigint, "position" bigint, worker text, version bigint, event bytea, seal bytea)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    horizon xid8 := {schema}.settled();
BEGIN
    RETURN QUERY
        SELECT l.compacted, e.position, e.worker, e.version, e.event, e.seal
        FROM {schema}.log l LEFT JOIN LATERAL (
            SELECT * FROM {schema}.events s
            WHERE s.position > after AND s.written_by < horizon
            ORDER BY s.position LIMIT count
        ) e ON true
        ORDER BY e.position;
END
$$;

-- The last position that can be seen, and the last that was written.
CREATE FUNCTION {schema}.last_positions(OUT visible bigint, OUT written bigint) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    horizon xid8 := {schema}.settled();
BEGIN
    SELECT
        greatest(l.compacted, (
            SELECT e.position FROM {schema}.events e WHERE e.written_by < horizon ORDER BY e.position DESC LIMIT 1
        )),
        greatest(l.compacted, (SELECT max(e.position) FROM {schema}.events e))
    INTO visible, written FROM {schema}.log l;
END
$$;

-- Writes batches that have no worker and no key in common, each whole or not at all. The first row of the answer has the
-- position of the first event (`present`); each other names a batch that was refused, and why. Where another transaction
-- was in the way at the wrong moment, it fails with 40001 and may be repeated.
--
-- b: the batches' leases, 0 for none. s: streams, with the index of their first event and their number of events.
-- e: events, in the order of the streams. v: values; expected -1 is anything, 0 nothing; NULL removes. n: snapshots; NULL
-- forgets the worker. The first batch is 1.
CREATE FUNCTION {schema}.append(
    b_lease bigint[],
    s_batch integer[], s_worker text[], s_expected bigint[], s_first bigint[], s_count bigint[],
    e_batch integer[], e_worker text[], e_version bigint[], e_event bytea[],
    v_batch integer[], v_key text[], v_expected bigint[], v_value bytea[],
    n_batch integer[], n_worker text[], n_version bigint[], n_state bytea[]
) RETURNS TABLE (batch integer, problem text, name text, present bigint)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    base bigint := 0;
    me xid8;
    refused integer[] := '{}';
    made bigint;
    wanted bigint;
BEGIN
    IF cardinality(e_event) > 0 THEN
        base := {schema}.draw(cardinality(e_event));
        me := pg_current_xact_id();
    END IF;

    -- Everything that is looked at is held, always in this order. A lease may be renewed meanwhile, not taken over.
    PERFORM 1 FROM {schema}.leases l WHERE l.id = ANY (b_lease) ORDER BY l.id FOR KEY SHARE;
    PERFORM 1 FROM {schema}.heads h WHERE h.worker = ANY (s_worker || n_worker) ORDER BY h.worker FOR UPDATE;
    IF cardinality(v_key) > 0 THEN
        PERFORM 1 FROM {schema}.state s WHERE s.key = ANY (v_key) ORDER BY s.key FOR UPDATE;
    END IF;

    -- A batch is told the first thing that is wrong with it: whether it may write comes first.
    batch := 0; problem := 'none'; name := ''; present := base;
    RETURN NEXT;
    FOR batch, problem, name, present IN
        SELECT b.batch::integer, 'ended', '', 0::bigint
        FROM unnest(b_lease) WITH ORDINALITY AS b (lease, batch)
        LEFT JOIN {schema}.leases l ON l.id = b.lease AND NOT l.is_over AND l.ends_at > clock_timestamp()
        WHERE b.lease <> 0 AND l.id IS NULL
    LOOP
        refused := refused || batch;
        RETURN NEXT;
    END LOOP;
    FOR batch, problem, name, present IN
        SELECT DISTINCT ON (t.batch) t.batch, 'owned', t.worker, coalesce(h.lease, 0)
        FROM unnest(s_batch || n_batch, s_worker || n_worker) AS t (batch, worker)
        LEFT JOIN {schema}.heads h ON h.worker = t.worker
        WHERE t.batch <> ALL (refused)
            AND (h.lease <> b_lease[t.batch] OR h.worker IS NULL AND t.worker <> ALL (s_worker))
        ORDER BY t.batch, t.worker
    LOOP
        refused := refused || batch;
        RETURN NEXT;
    END LOOP;
    FOR batch, problem, name, present IN
        SELECT DISTINCT ON (s.batch) s.batch, 'version', s.worker, coalesce(h.version, 0)
        FROM unnest(s_batch, s_worker, s_expected) AS s (batch, worker, expected)
        LEFT JOIN {schema}.heads h ON h.worker = s.worker
        WHERE s.batch <> ALL (refused) AND coalesce(h.version, 0) <> s.expected
        ORDER BY s.batch, s.worker
    LOOP
        refused := refused || batch;
        RETURN NEXT;
    END LOOP;
    IF cardinality(n_worker) > 0 THEN
        FOR batch, problem, name, present IN
            SELECT DISTINCT ON (n.batch) n.batch,
                CASE WHEN n.forgets THEN 'forget' WHEN n.version > n.reached THEN 'unreached' ELSE 'older' END,
                n.worker,
                CASE WHEN n.forgets OR n.version > n.reached THEN n.reached ELSE n.kept END
            FROM (
                SELECT n.batch, n.worker, n.version, n.state IS NULL AS forgets, coalesce(o.version, 0) AS kept,
                    coalesce(h.version, 0) + coalesce(s.count, 0) AS reached
                FROM unnest(n_batch, n_worker, n_version, n_state) AS n (batch, worker, version, state)
                LEFT JOIN {schema}.heads h ON h.worker = n.worker
                LEFT JOIN unnest(s_worker, s_count) AS s (worker, count) ON s.worker = n.worker
                LEFT JOIN {schema}.snapshots o ON o.worker = n.worker
                WHERE n.batch <> ALL (refused)
            ) n
            WHERE CASE WHEN n.forgets THEN n.version <> n.reached
                ELSE n.version > n.reached OR n.version < n.kept END
            ORDER BY n.batch, n.worker
        LOOP
            refused := refused || batch;
            RETURN NEXT;
        END LOOP;
    END IF;
    IF cardinality(v_key) > 0 THEN
        FOR batch, problem, name, present IN
            SELECT DISTINCT ON (v.batch) v.batch, 'value', v.key, coalesce(o.version, 0)
            FROM unnest(v_batch, v_key, v_expected) AS v (batch, key, expected)
            LEFT JOIN {schema}.state o ON o.key = v.key
            WHERE v.batch <> ALL (refused) AND v.expected >= 0 AND coalesce(o.version, 0) <> v.expected
            ORDER BY v.batch, v.key
        LOOP
            refused := refused || batch;
            RETURN NEXT;
        END LOOP;
    END IF;

    IF cardinality(s_worker) > 0 THEN
        UPDATE {schema}.heads h SET version = s.expected + s.count, last = base + s.first + s.count - 2
        FROM unnest(s_batch, s_worker, s_expected, s_first, s_count) AS s (batch, worker, expected, first, count)
        WHERE s.expected > 0 AND s.batch <> ALL (refused)
            AND h.worker = s.worker AND h.version = s.expected AND h.lease = b_lease[s.batch];
        GET DIAGNOSTICS wanted = ROW_COUNT;
        INSERT INTO {schema}.heads (worker, version, first, last, lease)
            SELECT s.worker, s.count, base + s.first - 1, base + s.first + s.count - 2, b_lease[s.batch]
            FROM unnest(s_batch, s_worker, s_expected, s_first, s_count) AS s (batch, worker, expected, first, count)
            WHERE s.expected = 0 AND s.batch <> ALL (refused)
            ORDER BY s.worker
            ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS made = ROW_COUNT;
        made := made + wanted;
        SELECT count(*) INTO wanted FROM unnest(s_batch) AS s (batch) WHERE s.batch <> ALL (refused);
        IF made <> wanted THEN
            RAISE EXCEPTION 'a stream has changed in between' USING ERRCODE = '40001';
        END IF;

        INSERT INTO {schema}.events (position, worker, version, written_by, event, seal)
            SELECT base + e.number - 1, e.worker, e.version, me, e.event,
                {schema}.seal('event/' || e.worker, base + e.number - 1, e.version, e.event)
            FROM unnest(e_batch, e_worker, e_version, e_event)
                WITH ORDINALITY AS e (batch, worker, version, event, number)
            WHERE e.batch <> ALL (refused);
    END IF;

    IF cardinality(v_key) > 0 THEN
        DELETE FROM {schema}.state o
        USING unnest(v_batch, v_key, v_value) AS v (batch, key, value)
        WHERE v.value IS NULL AND v.batch <> ALL (refused) AND o.key = v.key;
        UPDATE {schema}.state o SET version = o.version + 1, value = v.value,
            seal = {schema}.seal('value/' || v.key, 0, o.version + 1, v.value)
        FROM unnest(v_batch, v_key, v_expected, v_value) AS v (batch, key, expected, value)
        WHERE v.value IS NOT NULL AND v.batch <> ALL (refused)
            AND o.key = v.key AND (v.expected < 0 OR o.version = v.expected);
        GET DIAGNOSTICS wanted = ROW_COUNT;
        INSERT INTO {schema}.state (key, version, value, seal)
            SELECT v.key, 1, v.value, {schema}.seal('value/' || v.key, 0, 1, v.value)
            FROM unnest(v_batch, v_key, v_expected, v_value) AS v (batch, key, expected, value)
            WHERE v.value IS NOT NULL AND v.batch <> ALL (refused) AND v.expected <= 0
                AND NOT EXISTS (SELECT FROM {schema}.state o WHERE o.key = v.key)
            ORDER BY v.key
            ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS made = ROW_COUNT;
        made := made + wanted;
        SELECT count(*) INTO wanted FROM unnest(v_batch, v_value) AS v (batch, value)
        WHERE v.value IS NOT NULL AND v.batch <> ALL (refused);
        IF made <> wanted THEN
            RAISE EXCEPTION 'a value has changed in between' USING ERRCODE = '40001';
        END IF;
    END IF;

    IF cardinality(n_worker) > 0 THEN
        INSERT INTO {schema}.snapshots AS o (worker, version, position, state, seal)
            SELECT n.worker, n.version, n.position, n.state,
                {schema}.seal('snapshot/' || n.worker, n.position, n.version, n.state)
            FROM (
                SELECT n.*, coalesce(
                    (SELECT o.position FROM {schema}.snapshots o WHERE o.worker = n.worker AND o.version = n.version),
                    (SELECT e.position FROM {schema}.events e JOIN {schema}.heads h ON h.worker = e.worker
                        WHERE e.worker = n.worker AND e.version = n.version AND e.position >= h.first),
                    0
                ) AS position
                FROM unnest(n_batch, n_worker, n_version, n_state) AS n (batch, worker, version, state)
                WHERE n.state IS NOT NULL AND n.batch <> ALL (refused)
            ) n
            ORDER BY n.worker
            ON CONFLICT (worker) DO UPDATE SET version = excluded.version, position = excluded.position,
                state = excluded.state, seal = excluded.seal;
        DELETE FROM {schema}.snapshots o USING unnest(n_batch, n_worker, n_state) AS n (batch, worker, state)
        WHERE n.state IS NULL AND n.batch <> ALL (refused) AND o.worker = n.worker;
        DELETE FROM {schema}.heads o USING unnest(n_batch, n_worker, n_state) AS n (batch, worker, state)
        WHERE n.state IS NULL AND n.batch <> ALL (refused) AND o.worker = n.worker;
    END IF;
END
$$;

-- Removes up to `count` events from the log's beginning, up to that position, as far as snapshots cover them or their
-- streams are over.
CREATE FUNCTION {schema}.compact(through bigint, count bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    visible bigint := (SELECT p.visible FROM {schema}.last_positions() p);
    upto bigint;
    removed bigint;
BEGIN
    SELECT max(c.position) INTO upto FROM (
        SELECT e.position, bool_and(coalesce(e.position < h.first OR e.version <= s.version, h.worker IS NULL))
            OVER (ORDER BY e.position) AS covered
        FROM (
            SELECT * FROM {schema}.events e WHERE e.position <= least(through, visible)
            ORDER BY e.position LIMIT count
        ) e
        LEFT JOIN {schema}.heads h ON h.worker = e.worker
        LEFT JOIN {schema}.snapshots s ON s.worker = e.worker
    ) c WHERE c.covered;
    IF upto IS NULL THEN
        RETURN 0;
    END IF;
    -- Whoever else compacts waits here.
    UPDATE {schema}.log SET compacted = greatest(compacted, upto);
    DELETE FROM {schema}.events e WHERE e.position <= upto;
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END
$$;

-- Takes over up to `count` workers. The answer's first row says `taken`, or why nothing was.
CREATE FUNCTION {schema}.take_over(own bigint, other bigint, count bigint)
RETURNS TABLE (outcome text, worker text, version bigint, first bigint, owner_epoch bigint)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
    PERFORM 1 FROM {schema}.leases l WHERE l.id IN (own, other) ORDER BY l.id FOR UPDATE;
    IF NOT EXISTS (
        SELECT FROM {schema}.leases l WHERE l.id = own AND NOT l.is_over AND l.ends_at > clock_timestamp()
    ) THEN
        RETURN QUERY SELECT 'ended', '', 0::bigint, 0::bigint, 0::bigint;
        RETURN;
    END IF;
    IF EXISTS (
        SELECT FROM {schema}.leases l WHERE l.id = other AND NOT l.is_over AND l.ends_at > clock_timestamp()
    ) THEN
        RETURN QUERY SELECT 'holds', '', 0::bigint, 0::bigint, 0::bigint;
        RETURN;
    END IF;
    -- Whoever held it never writes again, however late he comes.
    UPDATE {schema}.leases SET is_over = true WHERE id = other AND NOT is_over;
    RETURN QUERY
        WITH theirs AS (
            SELECT h.worker FROM {schema}.heads h WHERE h.lease = other ORDER BY h.worker LIMIT count FOR UPDATE
        ), moved AS (
            UPDATE {schema}.heads h SET lease = own, owner_epoch = h.owner_epoch + 1
            FROM theirs WHERE h.worker = theirs.worker
            RETURNING h.worker, h.version, h.first, h.owner_epoch
        )
        SELECT 'taken', m.worker::text, m.version, m.first, m.owner_epoch FROM moved m ORDER BY m.worker;
END
$$;

INSERT INTO {schema}.log (id) VALUES ('{log}');
