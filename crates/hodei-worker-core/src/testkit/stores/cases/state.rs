use super::{CaseResult, StoreContext, cases, check_eq, event, fails_with, worker};
use crate::{
    error::ErrorKind,
    store::{Batch, Expected, StateEntry, StateValue},
};

cases! {
    l6_a_value_is_read_as_it_was_written;
    l6_a_values_version_counts_its_writes;
    l6_a_value_other_than_expected_is_a_conflict;
    l6_a_removed_value_begins_anew;
    l6_values_are_listed_by_prefix_in_order;
    l6_values_are_listed_in_pages;
    l6_writing_state_takes_no_events;
}

fn put(key: &str, expected: Expected, value: &str) -> Batch {
    Batch::new().put(key, expected, event(value))
}

async fn l6_a_value_is_read_as_it_was_written(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    check_eq!(store.get("nothing").await?, None);
    let all: Vec<u8> = (0..=255).collect();
    store.write(Batch::new().put("a/ä b", Expected::Any, all.clone())).await?;
    store.write(put("empty", Expected::Any, "")).await?;
    store.write(put(&"k".repeat(500), Expected::Any, "long")).await?;
    check_eq!(store.get("a/ä b").await?, Some(StateValue::new(1, all.into())));
    check_eq!(store.get("empty").await?, Some(StateValue::new(1, event(""))));
    check_eq!(store.get(&"k".repeat(500)).await?, Some(StateValue::new(1, event("long"))));
    Ok(())
}

async fn l6_a_values_version_counts_its_writes(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    for n in 1..=3 {
        store.write(put("k", Expected::Any, &n.to_string())).await?;
        check_eq!(store.get("k").await?, Some(StateValue::new(n, event(&n.to_string()))));
    }
    store.write(put("k", Expected::Version(3), "4")).await?;
    check_eq!(store.get("k").await?, Some(StateValue::new(4, event("4"))));
    Ok(())
}

async fn l6_a_value_other_than_expected_is_a_conflict(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    fails_with(ErrorKind::Conflict, store.write(put("k", Expected::Version(1), "no")).await)?;
    store.write(put("k", Expected::Absent, "1")).await?;
    let both = || put("other", Expected::Any, "x");
    for bad in [
        both().put("k", Expected::Absent, "no"),
        both().put("k", Expected::Version(2), "no"),
        both().remove("k", Expected::Absent),
        both().remove("k", Expected::Version(2)),
    ] {
        let error = fails_with(ErrorKind::Conflict, store.write(bad).await)?;
        check_eq!(error.context_value("key"), Some("k"));
    }
    check_eq!(store.get("k").await?, Some(StateValue::new(1, event("1"))));
    check_eq!(store.get("other").await?, None);
    Ok(())
}

async fn l6_a_removed_value_begins_anew(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    store.write(Batch::new().remove("k", Expected::Any)).await?;
    store.write(put("k", Expected::Any, "1").put("l", Expected::Any, "1")).await?;
    store.write(put("k", Expected::Any, "2")).await?;
    store.write(Batch::new().remove("k", Expected::Version(2))).await?;
    check_eq!(store.get("k").await?, None);
    check_eq!(store.list("", None, 10).await?.len(), 1);
    store.write(put("k", Expected::Absent, "3")).await?;
    check_eq!(store.get("k").await?, Some(StateValue::new(1, event("3"))));
    Ok(())
}

fn keys(entries: &[StateEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.key.as_str()).collect()
}

async fn l6_values_are_listed_by_prefix_in_order(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let mut batch = Batch::new();
    for key in ["b", "a/2", "a/10", "a", "a0", "a/", "B", "a%", "a_x", "ä", "a\u{10ffff}"] {
        batch = batch.put(key, Expected::Any, event(key));
    }
    store.write(batch).await?;
    let all = store.list("", None, 100).await?;
    check_eq!(keys(&all), ["B", "a", "a%", "a/", "a/10", "a/2", "a0", "a_x", "a\u{10ffff}", "b", "ä"]);
    assert_values(&all)?;
    check_eq!(keys(&store.list("a/", None, 100).await?), ["a/", "a/10", "a/2"]);
    check_eq!(keys(&store.list("a_", None, 100).await?), ["a_x"]);
    check_eq!(keys(&store.list("a%", None, 100).await?), ["a%"]);
    check_eq!(keys(&store.list("a\u{10ffff}", None, 100).await?), ["a\u{10ffff}"]);
    check_eq!(keys(&store.list("c", None, 100).await?), [""; 0]);
    Ok(())
}

fn assert_values(entries: &[StateEntry]) -> CaseResult {
    for entry in entries {
        check_eq!(entry.value, StateValue::new(1, event(&entry.key)));
    }
    Ok(())
}

async fn l6_values_are_listed_in_pages(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let mut batch = Batch::new();
    for key in ["a", "p/1", "p/2", "p/3", "q"] {
        batch = batch.put(key, Expected::Any, "");
    }
    store.write(batch).await?;
    check_eq!(keys(&store.list("p/", None, 2).await?), ["p/1", "p/2"]);
    check_eq!(keys(&store.list("p/", Some("p/2"), 2).await?), ["p/3"]);
    check_eq!(keys(&store.list("p/", Some("p/25"), 2).await?), ["p/3"]);
    check_eq!(keys(&store.list("p/", Some("p/3"), 2).await?), [""; 0]);
    check_eq!(keys(&store.list("p/", Some("a"), 2).await?), ["p/1", "p/2"]);
    check_eq!(keys(&store.list("p/", Some("z"), 2).await?), [""; 0]);
    check_eq!(keys(&store.list("", Some("p/3"), 9).await?), ["q"]);
    Ok(())
}

async fn l6_writing_state_takes_no_events(cx: StoreContext) -> CaseResult {
    let store = cx.open().await?;
    let a = worker("a")?;
    store.say(&a, 0, &["1"]).await?;
    for more in [
        put("k", Expected::Any, "v").append(a.clone(), 1, [event("2")]),
        put("k", Expected::Any, "v").save(a.clone(), 1, "s"),
    ] {
        fails_with(ErrorKind::Config, store.write(more).await)?;
    }
    check_eq!(store.get("k").await?, None);
    check_eq!(store.whole_log(10).await?.len(), 1);
    Ok(())
}
