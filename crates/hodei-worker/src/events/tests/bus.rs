use super::*;
use crate::events::{EventBus, EventFilter};
use hodei_worker_core::lifecycle::EventType;

#[test]
fn l9_any_number_of_subscribers_get_what_they_asked_for_in_order() {
    let bus = EventBus::default();
    let mut all = bus.subscribe(EventFilter::all());
    let mut one = bus.subscribe(EventFilter::worker(id("a")));
    let mut some = bus.subscribe(EventFilter::workers([id("a"), id("c")]));
    let mut typed = bus.subscribe(EventFilter::all().types([EventType::Failed]));
    for (position, worker) in [(1, "a"), (2, "b"), (3, "a"), (4, "c")] {
        bus.publish(&event(position, worker, 1));
    }
    assert_eq!(positions(&now(&mut all)), [1, 2, 3, 4]);
    assert_eq!(positions(&now(&mut one)), [1, 3]);
    assert_eq!(positions(&now(&mut some)), [1, 3, 4]);
    assert_eq!(now(&mut typed), []);
}

#[test]
fn l9_a_slow_subscriber_loses_the_oldest_and_is_told_exactly_which() {
    let bus = EventBus::default();
    let mut slow = bus.subscribe_with(EventFilter::worker(id("a")), 2);
    let mut quick = bus.subscribe(EventFilter::all());
    for position in 1..=10 {
        bus.publish(&event(position, if position % 2 == 0 { "b" } else { "a" }, position));
    }
    let told = now(&mut slow);
    assert_eq!(told[0], Notice::Missed { from: 1, through: 5 });
    assert_eq!(positions(&told), [7, 9]);
    assert_eq!(now(&mut quick).len(), 10, "nobody else is touched");
    assert_eq!(bus.lag().missed, 3);
    // Once told, it is over.
    bus.publish(&event(11, "a", 11));
    assert_eq!(positions(&now(&mut slow)), [11]);
}

#[test]
fn l9_the_end_of_the_bus_is_told_after_what_was_before() {
    let bus = EventBus::default();
    let mut news = bus.subscribe(EventFilter::all());
    bus.publish(&event(1, "a", 1));
    drop(bus);
    assert!(matches!(news.next().now_or_never(), Some(Some(Notice::Event(_)))));
    assert_eq!(news.next().now_or_never(), Some(None));
}

#[test]
fn l9_who_left_is_forgotten() {
    let bus = EventBus::default();
    let all = bus.subscribe(EventFilter::all());
    let some = bus.subscribe(EventFilter::workers([id("a"), id("b")]));
    assert!(bus.is_heard());
    drop((all, some));
    assert!(!bus.is_heard());
    assert_eq!(format!("{:?}", bus.lag()), "BusLag { subscribers: 0, longest: 0, missed: 0 }");
}

/// Ten thousand listen to workers of their own: what happens to one wakes one.
#[test]
fn l9_subscribers_of_other_workers_are_not_looked_at() {
    let bus = EventBus::default();
    let mut others: Vec<_> =
        (0..10_000).map(|n| bus.subscribe(EventFilter::worker(id(&format!("w-{n}"))))).collect();
    let mut mine = bus.subscribe(EventFilter::worker(id("mine")));
    // Looked at or not: a listener that is locked shows it, as the call would wait for ever.
    let held: Vec<_> = others.iter().map(|other| other.listener.hold()).collect();
    bus.publish(&event(1, "mine", 1));
    drop(held);
    assert_eq!(positions(&now(&mut mine)), [1]);
    assert!(others.iter_mut().all(|other| now(other).is_empty()));
}

#[tokio::test]
async fn l9_many_publish_while_readers_come_and_go() {
    let bus = EventBus::default();
    let mut all = bus.subscribe_with(EventFilter::all(), 10_000);
    let publishers: Vec<_> = (0..8)
        .map(|worker| {
            let bus = bus.clone();
            tokio::task::spawn_blocking(move || {
                for version in 1..=1000 {
                    bus.publish(&event(worker * 1000 + version, &format!("w-{worker}"), version));
                    drop(bus.subscribe(EventFilter::worker(id(&format!("w-{worker}")))));
                }
            })
        })
        .collect();
    let mut last = std::collections::HashMap::new();
    for _ in 0..8000 {
        let Some(Notice::Event(event)) = all.next().await else { panic!("nothing may be missed") };
        let before = last.insert(event.worker_id.clone(), event.version).unwrap_or(0);
        assert_eq!(event.version, before + 1, "ordered per worker");
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
}
