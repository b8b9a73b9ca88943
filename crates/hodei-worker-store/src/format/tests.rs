use super::*;

fn log() -> LogId {
    "0123456789abcdef0123456789abcdef".parse().unwrap()
}

/// A row of the log that begins at that position.
fn row(seal: Seal, begin: u64, events: &[EventRow<'_>]) -> Vec<u8> {
    let mut row = Vec::new();
    for (position, event) in (begin..).zip(events) {
        event.add(seal, position, &mut row);
    }
    row
}

/// The first event of a row that begins at that position.
fn first(seal: Seal, begin: u64, row: &[u8]) -> Result<EventRow<'_>, Unreadable> {
    EventRow::at(seal, begin, begin, row).unwrap()
}

#[test]
fn l6_rows_are_read_as_they_were_written() {
    let seal = Seal::of(&log());
    let events = [
        EventRow { worker: "build-1", version: 3, back: 7, event: b"stopped" },
        EventRow { worker: "build-2", version: 1, back: 0, event: b"" },
        EventRow { worker: "build-1", version: 4, back: 9, event: b"terminated" },
    ];
    let together = row(seal, 9, &events);
    for (from, left) in [(0, 3), (9, 3), (10, 2), (11, 1), (12, 0)] {
        let read: Vec<_> = EventRow::all(seal, 9, from, &together).collect();
        let meant: Vec<_> = (9..).zip(events.map(Ok)).skip(3 - left).collect();
        assert_eq!(read, meant, "from {from}");
    }
    assert_eq!(EventRow::at(seal, 9, 11, &together), Some(Ok(events[2])));
    assert_eq!(EventRow::at(seal, 9, 12, &together), None);
    assert_eq!(EventRow::at(seal, 9, 8, &together), None);
    let state = StateRow { version: 2, value: b"" };
    assert_eq!(StateRow::read(seal, b"k", &state.write(seal, b"k")), Ok(state));
    let snapshot = SnapshotRow { version: 2, position: 8, state: b"fold" };
    assert_eq!(SnapshotRow::read(seal, b"w", &snapshot.write(seal, b"w")), Ok(snapshot));
    let over = OverRow { position: 5 };
    assert_eq!(OverRow::read(seal, b"w", &over.write(seal, b"w")), Ok(over));
    let mut manifest = Manifest::new(log());
    (manifest.commits, manifest.last) = (12, 30);
    manifest.state.add(&state.write(seal, b"k"));
    assert_eq!(Manifest::read(&manifest.write()), Ok(manifest));
    let anchor = Anchor { log: log(), commits: 12, last: 30 };
    assert_eq!(Anchor::read(&anchor.write()), Ok(anchor));
}

#[test]
fn l6_a_row_passes_for_no_other() {
    let seal = Seal::of(&log());
    let row = row(seal, 9, &[EventRow { worker: "a", version: 1, back: 0, event: b"x" }]);
    assert_eq!(first(seal, 10, &row), Err(Unreadable::Damaged));
    let other = Seal::of(&LogId::random());
    assert_eq!(first(other, 9, &row), Err(Unreadable::Damaged));
    let over = OverRow { position: 5 }.write(seal, b"k");
    assert_eq!(StateRow::read(seal, b"k", &over), Err(Unreadable::Damaged));
}

#[test]
fn l6_a_flipped_bit_is_noticed() {
    let seal = Seal::of(&log());
    let event = |version, event| EventRow { worker: "a", version, back: 0, event };
    let row = row(seal, 9, &[event(1, b"something happened"), event(2, b"and more")]);
    let is_whole = |row: &[u8]| {
        let events: Vec<_> = EventRow::all(seal, 9, 0, row).collect();
        events.len() == 2 && events.iter().all(|(_, event)| event.is_ok())
    };
    assert!(is_whole(&row));
    for bit in 0..row.len() * 8 {
        let mut row = row.clone();
        row[bit / 8] ^= 1 << (bit % 8);
        assert!(!is_whole(&row), "bit {bit}");
    }
    for length in 0..row.len() {
        assert!(!is_whole(&row[..length]), "{length} bytes");
    }
}

#[test]
fn l6_damage_in_a_row_costs_the_event_that_it_is_in() {
    let seal = Seal::of(&log());
    let event = |worker, version, event| EventRow { worker, version, back: version - 1, event };
    let events = [
        event("a", 1, b"something happened".as_slice()),
        event("b", 7, b""),
        event("a", 2, b"and more"),
        event("c", 1, &[0; 300]),
    ];
    let whole = row(seal, 9, &events);
    let ends: Vec<usize> = (1..=events.len()).map(|count| row(seal, 9, &events[..count]).len()).collect();
    assert_eq!(EventRow::salvaged(seal, 9, &whole), (9..).zip(events).collect::<Vec<_>>());
    for bit in 0..whole.len() * 8 {
        let mut row = whole.clone();
        row[bit / 8] ^= 1 << (bit % 8);
        let hit = ends.partition_point(|end| *end <= bit / 8);
        let begin = hit.checked_sub(1).map_or(0, |before| ends[before]);
        let in_length = bit / 8 < begin + size_of::<u32>();
        let meant = (9..).zip(events).enumerate().filter(|(index, _)| in_length || *index != hit);
        let meant: Vec<_> = meant.map(|(_, event)| event).collect();
        assert_eq!(EventRow::salvaged(seal, 9, &row), meant, "bit {bit}");
    }
    // Two that follow each other.
    let mut row = whole;
    row[ends[0] + 5] ^= 1;
    row[ends[1] + 1] ^= 1;
    row[ends[1] + 9] ^= 1;
    let meant = [(9, events[0]), (12, events[3])];
    assert_eq!(EventRow::salvaged(seal, 9, &row), meant);
}

#[test]
fn l6_a_newer_format_is_told_from_damage() {
    let seal = Seal::of(&log());
    let newer = seal.close(Table::State, b"k", vec![FORMAT + 1, 1, 2, 3]);
    assert_eq!(StateRow::read(seal, b"k", &newer), Err(Unreadable::Newer(FORMAT + 1)));
    let never = seal.close(Table::State, b"k", vec![0, 1, 2, 3]);
    assert_eq!(StateRow::read(seal, b"k", &never), Err(Unreadable::Damaged));
}

/// Each row as the version wrote it, in hexadecimal digits.
const GOLDEN: [&str; 1] = [include_str!("golden/v1.txt")];

fn golden() -> Vec<(&'static str, Vec<u8>)> {
    let seal = Seal::of(&log());
    let mut manifest = Manifest::new(log());
    (manifest.commits, manifest.first, manifest.last) = (12, 4, 30);
    manifest.state = Tally { rows: 2, digest: 3 };
    manifest.snapshots = Tally { rows: 4, digest: 5 };
    manifest.over = Tally { rows: 6, digest: 7 };
    let events = [
        EventRow { worker: "build-1", version: 3, back: 7, event: b"stopped" },
        EventRow { worker: "build-2", version: 1, back: 0, event: b"created" },
    ];
    vec![
        ("events", row(seal, 9, &events)),
        ("value", StateRow { version: 2, value: b"on" }.write(seal, b"key")),
        ("snapshot", SnapshotRow { version: 2, position: 8, state: b"fold" }.write(seal, b"build-1")),
        ("over", OverRow { position: 5 }.write(seal, b"build-1")),
        ("manifest", manifest.write()),
        ("anchor", Anchor { log: log(), commits: 12, last: 30 }.write()),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn l6_what_this_version_writes_is_its_golden_file() {
    let written: String = golden().iter().map(|(name, row)| format!("{name} {}\n", hex(row))).collect();
    assert_eq!(written, GOLDEN[usize::from(FORMAT) - 1], "a change of the format is a new version");
}

#[test]
fn l6_rows_of_every_version_are_read() {
    for golden in GOLDEN {
        for line in golden.lines() {
            let (name, digits) = line.split_once(' ').unwrap();
            let row: Vec<_> = (0..digits.len() / 2)
                .map(|n| u8::from_str_radix(&digits[2 * n..2 * n + 2], 16).unwrap())
                .collect();
            let seal = Seal::of(&log());
            match name {
                "events" => {
                    assert_eq!(first(seal, 9, &row).unwrap().event, b"stopped");
                    assert_eq!(EventRow::at(seal, 9, 10, &row).unwrap().unwrap().event, b"created");
                }
                "value" => assert_eq!(StateRow::read(seal, b"key", &row).unwrap().value, b"on"),
                "snapshot" => assert_eq!(SnapshotRow::read(seal, b"build-1", &row).unwrap().state, b"fold"),
                "over" => assert_eq!(OverRow::read(seal, b"build-1", &row).unwrap().position, 5),
                "manifest" => assert_eq!(Manifest::read(&row).unwrap().over, Tally { rows: 6, digest: 7 }),
                "anchor" => assert_eq!(Anchor::read(&row).unwrap().last, 30),
                other => panic!("{other}"),
            }
        }
    }
}
