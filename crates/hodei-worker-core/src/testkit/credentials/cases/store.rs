use super::{CaseFailure, CaseResult, CredentialContext};
use crate::{
    credential::{
        CredentialContent, CredentialKind, CredentialVersion, DeleteCredentialOptions, RetrieveOptions,
        StoreOptions,
    },
    error::ErrorKind,
    testkit::credentials::context::failed,
};

super::cases! {
    c1_what_is_stored_is_read [Store];
    c1_what_is_not_there_is_not_found [];
    c1_a_deletion_takes_all_and_may_be_repeated [Store];
    c1_a_stale_writer_is_refused [Store, CompareAndSet];
    c1_of_many_writers_of_one_version_one_succeeds [Store, CompareAndSet];
    c1_a_repetition_by_its_token_is_the_version_that_is_there [Store, Tokens];
    c1_versions_are_read_by_their_names [Store, Versions];
    c1_a_listing_has_what_begins_with_the_prefix_in_order [Store, List];
    c1_any_bytes_come_back [Store, Binary];
    c1_each_kind_comes_back_with_its_parts [Store];
    c10_a_content_without_the_parts_of_its_kind_is_refused [Store];
    c1_a_time_of_expiry_is_kept [Store, Expiry];
    c1_a_version_is_deleted_by_itself_unless_it_is_in_use [Store, Versions, DeleteVersion];
    c1_another_host_sees_what_was_stored [Store];
    c1_nothing_that_is_told_shows_a_secret [Store];
}

async fn c1_what_is_stored_is_read(cx: &CredentialContext) -> CaseResult {
    let key = cx.key("a")?;
    let first = cx.put(&key, "first-hunter2").await?;
    cx.holds(&key, &RetrieveOptions::default(), "first-hunter2").await?;
    let second = cx.put(&key, "second-hunter2").await?;
    if first == second {
        return Err(CaseFailure::new("two versions have one name"));
    }
    cx.holds(&key, &RetrieveOptions::default().fresh(), "second-hunter2").await
}

async fn c1_what_is_not_there_is_not_found(cx: &CredentialContext) -> CaseResult {
    let error = failed(
        cx.store.retrieve_credential(&cx.key("a")?, &RetrieveOptions::default()).await,
        ErrorKind::NotFound,
    )?;
    if error.is_retryable() {
        return Err(CaseFailure::new(format!("trying again does not help: {error:?}")));
    }
    Ok(())
}

async fn c1_a_deletion_takes_all_and_may_be_repeated(cx: &CredentialContext) -> CaseResult {
    let key = cx.key("a")?;
    cx.put(&key, "first-hunter2").await?;
    for _ in 0..2 {
        cx.store.delete_credential(&key, &DeleteCredentialOptions::default()).await?;
        let read = cx.store.retrieve_credential(&key, &RetrieveOptions::default()).await;
        failed(read, ErrorKind::NotFound)?;
    }
    cx.put(&key, "second-hunter2").await?;
    cx.holds(&key, &RetrieveOptions::default(), "second-hunter2").await
}

async fn c1_a_stale_writer_is_refused(cx: &CredentialContext) -> CaseResult {
    let key = cx.key("a")?;
    let first = cx.put_by(&key, "first-hunter2", &StoreOptions::new_only()).await?;
    failed(cx.put_by(&key, "other-hunter2", &StoreOptions::new_only()).await, ErrorKind::Conflict)?;
    cx.put_by(&key, "second-hunter2", &StoreOptions::expecting(first.clone())).await?;
    let stale = cx.put_by(&key, "third-hunter2", &StoreOptions::expecting(first)).await;
    failed(stale, ErrorKind::Conflict)?;
    cx.holds(&key, &RetrieveOptions::default(), "second-hunter2").await
}

async fn c1_of_many_writers_of_one_version_one_succeeds(cx: &CredentialContext) -> CaseResult {
    let key = cx.key("many")?;
    let first = cx.put(&key, "first-hunter2").await?;
    let options = StoreOptions::expecting(first);
    let writers = (0..8).map(|_| cx.put_by(&key, "second-hunter2", &options));
    let mut succeeded = 0;
    for outcome in futures::future::join_all(writers).await {
        match outcome {
            Ok(_) => succeeded += 1,
            Err(error) => drop(failed::<()>(Err(error), ErrorKind::Conflict)?),
        }
    }
    match succeeded {
        1 => Ok(()),
        count => Err(CaseFailure::new(format!("{count} of 8 writers succeeded"))),
    }
}

async fn c1_a_repetition_by_its_token_is_the_version_that_is_there(cx: &CredentialContext) -> CaseResult {
    let key = cx.key("a")?;
    // As long as tokens of clouds have to be.
    let options = StoreOptions::default().with_token("0c1d7f0a-5b6e-4d38-9a54-7d0a36a1f001");
    let first = cx.put_by(&key, "first-hunter2", &options).await?;
    let again = cx.put_by(&key, "first-hunter2", &options).await?;
    if first != again {
        return Err(CaseFailure::new(format!("a repetition made version {again} beside {first}")));
    }
    failed(cx.put_by(&key, "other-hunter2", &options).await, ErrorKind::Conflict)?;
    cx.holds(&key, &RetrieveOptions::default(), "first-hunter2").await
}

async fn c1_versions_are_read_by_their_names(cx: &CredentialContext) -> CaseResult {
    let key = cx.key("a")?;
    if !cx.store.list_versions(&key).await?.is_empty() {
        return Err(CaseFailure::new("what is not there has versions"));
    }
    let first = cx.put(&key, "first-hunter2").await?;
    let second = cx.put(&key, "second-hunter2").await?;
    cx.holds(&key, &RetrieveOptions::version(first.clone()), "first-hunter2").await?;
    cx.holds(&key, &RetrieveOptions::version(second.clone()), "second-hunter2").await?;
    let listed: Vec<_> =
        cx.store.list_versions(&key).await?.into_iter().map(|version| version.version).collect();
    if listed != [first, second] {
        return Err(CaseFailure::new(format!("listed are {listed:?}")));
    }
    let none = RetrieveOptions::version(CredentialVersion::new("999999"));
    failed(cx.store.retrieve_credential(&key, &none).await, ErrorKind::NotFound)?;
    Ok(())
}

async fn c1_a_listing_has_what_begins_with_the_prefix_in_order(cx: &CredentialContext) -> CaseResult {
    let mut keys = Vec::new();
    for name in ["b", "a", "b/c"] {
        let key = cx.key(name)?;
        cx.put(&key, "x").await?;
        keys.push(key);
    }
    keys.sort();
    let listed = cx.store.list_credentials(&cx.prefix).await?;
    let listed: Vec<_> = listed.into_iter().map(|one| one.key).collect();
    if listed != keys {
        return Err(CaseFailure::new(format!("listed are {listed:?} in the place of {keys:?}")));
    }
    let below = cx.store.list_credentials(&format!("{}b", cx.prefix)).await?;
    let below: Vec<_> = below.into_iter().map(|one| one.key).collect();
    if below != keys[1..] {
        return Err(CaseFailure::new(format!("listed are {below:?} below `b`")));
    }
    match cx.store.list_credentials(&format!("{}nothing", cx.prefix)).await?.is_empty() {
        true => Ok(()),
        false => Err(CaseFailure::new("what begins with nothing that is there is listed")),
    }
}

async fn c1_any_bytes_come_back(cx: &CredentialContext) -> CaseResult {
    let key = cx.key("a")?;
    let bytes: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    cx.store.store_credential(&key, bytes.clone().into(), &StoreOptions::default()).await?;
    let read = cx.store.retrieve_credential(&key, &RetrieveOptions::default()).await?;
    match read.secret().expose() == bytes {
        true => Ok(()),
        false => Err(CaseFailure::new("they are others")),
    }
}

/// One of each kind.
fn of_each_kind() -> [CredentialContent; 6] {
    [
        CredentialContent::opaque("value-hunter2"),
        CredentialContent::password("app", "hunter2").with("host", "db.example"),
        CredentialContent::key_pair("public", "private-hunter2"),
        CredentialContent::token("token-hunter2"),
        CredentialContent::certificate(
            "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n",
            "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n",
        ),
        CredentialContent::service_account("client", "secret-hunter2"),
    ]
}

async fn c1_each_kind_comes_back_with_its_parts(cx: &CredentialContext) -> CaseResult {
    let key = cx.key("a")?;
    for content in of_each_kind() {
        let kind = content.kind();
        let stored = cx.store.store_credential(&key, content.clone(), &StoreOptions::default()).await;
        if !cx.capabilities.kinds.contains(&kind) {
            failed(stored, ErrorKind::Unsupported)?;
            continue;
        }
        stored?;
        let read = cx.store.retrieve_credential(&key, &RetrieveOptions::default().fresh()).await?;
        if !read.content.is_same(&content) {
            return Err(CaseFailure::new(format!("a {kind} comes back as {:?}", read.content)));
        }
    }
    Ok(())
}

async fn c10_a_content_without_the_parts_of_its_kind_is_refused(cx: &CredentialContext) -> CaseResult {
    let key = cx.key("a")?;
    cx.put(&key, "first-hunter2").await?;
    let half = CredentialContent::of(CredentialKind::Password, "other-hunter2");
    let stored = cx.store.store_credential(&key, half, &StoreOptions::default()).await;
    match cx.capabilities.kinds.contains(&CredentialKind::Password) {
        true => drop(failed(stored, ErrorKind::Config)?),
        false => drop(stored.err().ok_or_else(|| CaseFailure::new("it was stored"))?),
    }
    // What was there stays.
    cx.holds(&key, &RetrieveOptions::default(), "first-hunter2").await
}

async fn c1_a_time_of_expiry_is_kept(cx: &CredentialContext) -> CaseResult {
    let key = cx.key("a")?;
    let at = crate::clock::Timestamp::from_second(4_000_000_000)
        .map_err(|error| CaseFailure::new(error.to_string()))?;
    cx.put_by(&key, "first-hunter2", &StoreOptions::default().expiring(at)).await?;
    let read = cx.store.retrieve_credential(&key, &RetrieveOptions::default()).await?;
    match read.expires == Some(at) {
        true => Ok(()),
        false => Err(CaseFailure::new(format!("it expires at {:?}", read.expires))),
    }
}

async fn c1_a_version_is_deleted_by_itself_unless_it_is_in_use(cx: &CredentialContext) -> CaseResult {
    let key = cx.key("a")?;
    let first = cx.put(&key, "first-hunter2").await?;
    let second = cx.put(&key, "second-hunter2").await?;
    let current = DeleteCredentialOptions::version(second.clone());
    failed(cx.store.delete_credential(&key, &current).await, ErrorKind::Conflict)?;
    let one = DeleteCredentialOptions::version(first.clone());
    for _ in 0..2 {
        cx.store.delete_credential(&key, &one).await?;
    }
    let read = cx.store.retrieve_credential(&key, &RetrieveOptions::version(first)).await;
    failed(read, ErrorKind::NotFound)?;
    cx.holds(&key, &RetrieveOptions::version(second), "second-hunter2").await
}

async fn c1_another_host_sees_what_was_stored(cx: &CredentialContext) -> CaseResult {
    let Some(other) = &cx.other else {
        return Err(CaseFailure::inapplicable("one host has this store to itself"));
    };
    let key = cx.key("a")?;
    cx.put(&key, "first-hunter2").await?;
    let seen = other.retrieve_credential(&key, &RetrieveOptions::default()).await?;
    match seen.secret().expose_str() == Some("first-hunter2") {
        true => Ok(()),
        false => Err(CaseFailure::new("it sees something else")),
    }
}

async fn c1_nothing_that_is_told_shows_a_secret(cx: &CredentialContext) -> CaseResult {
    let key = cx.key("a")?;
    cx.put(&key, "first-hunter2").await?;
    let read = cx.store.retrieve_credential(&key, &RetrieveOptions::default()).await?;
    let mut told = format!("{:?} {read:?}", cx.store);
    if let Ok(listed) = cx.store.list_credentials(&cx.prefix).await {
        told.push_str(&format!("{listed:?} {}", serde_json::to_string(&listed).unwrap_or_default()));
    }
    match told.contains("hunter2") {
        false => Ok(()),
        true => Err(CaseFailure::new(format!("it is shown in: {told}"))),
    }
}
