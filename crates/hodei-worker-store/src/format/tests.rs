use super::*;

fn log() -> LogId {
    "0123456789abcdef0123456789abcdef".parse().unwrap()
}

#[test]
fn l6_rows_are_read_as_they_were_written() {
    let seal = Seal::of(&log());
    let event = EventRow { worker: "build-1", version: 3, back: 7, event: b"stopped" };
    assert_eq!(EventRow::read(seal, 9, &event.write(seal, 9)), Ok(event));
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
    let row = EventRow { worker: "a", version: 1, back: 0, event: b"x" }.write(seal, 9);
    assert_eq!(EventRow::read(seal, 10, &row), Err(Unreadable::Damaged));
    let other = Seal::of(&LogId::random());
    assert_eq!(EventRow::read(other, 9, &row), Err(Unreadable::Damaged));
    let over = OverRow { position: 5 }.write(seal, b"k");
    assert_eq!(StateRow::read(seal, b"k", &over), Err(Unreadable::Damaged));
}

#[test]
fn l6_a_flipped_bit_is_noticed() {
    let seal = Seal::of(&log());
    let row = EventRow { worker: "a", version: 1, back: 0, event: b"something happened" }.write(seal, 9);
    for bit in 0..row.len() * 8 {
        let mut row = row.clone();
        row[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(EventRow::read(seal, 9, &row), Err(Unreadable::Damaged), "bit {bit}");
    }
    for length in 0..row.len() {
        assert_eq!(EventRow::read(seal, 9, &row[..length]), Err(Unreadable::Damaged), "{length} bytes");
    }
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
    vec![
        ("event", EventRow { worker: "build-1", version: 3, back: 7, event: b"stopped" }.write(seal, 9)),
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
                "event" => assert_eq!(EventRow::read(seal, 9, &row).unwrap().event, b"stopped"),
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
