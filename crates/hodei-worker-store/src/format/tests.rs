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
