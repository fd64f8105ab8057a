//! Tests of a token: when it is fetched, when it is fetched again, and how long a deleted one is still accepted.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A store whose secret changes with every fetch.
#[derive(Default)]
struct Rotating(AtomicU32);

impl Fetch for Rotating {
    fn fetch<'a>(&'a self, _: &'a Stored) -> BoxFuture<'a, Result<Secret, NotFetched>> {
        let turn = self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move { Ok(Secret::new(format!("canary-{turn}\n"))) })
    }
}

fn stored(store: &Arc<Rotating>) -> Token {
    let store: Arc<dyn Fetch> = Arc::<Rotating>::clone(store);
    Token::new(TokenSource::Stored(Stored::Ssm("nomad".into())), store)
}

#[tokio::test(start_paused = true)]
async fn a_stored_token_is_fetched_once_and_again_only_when_refused() {
    let store = Arc::new(Rotating::default());
    let token = stored(&store);
    assert_eq!(store.0.load(Ordering::Relaxed), 0);
    let first = token.get().await.expect("it is there");
    assert_eq!(token.get().await, Ok(first.clone()));
    assert_eq!(store.0.load(Ordering::Relaxed), 1);
    tokio::time::advance(FETCH_AGAIN_AFTER).await;
    let second = token.instead_of(first.as_ref()).await;
    assert_eq!(second.as_ref().map(Secret::expose), Some("canary-1"));
    assert_eq!(token.instead_of(first.as_ref()).await, second, "a caller that was refused with the first gets the second");
    assert_eq!(token.instead_of(second.as_ref()).await, None, "it was just fetched");
    assert_eq!(store.0.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_literal_token_has_no_other() {
    let token = Token::new(TokenSource::Literal(Secret::new("canary")), Arc::new(NoStore));
    let first = token.get().await.expect("it is there");
    assert_eq!(token.instead_of(first.as_ref()).await, None);
    assert!(!format!("{token:?}").contains("canary"));
}

#[tokio::test(start_paused = true)]
async fn a_rotated_file_is_read_again_after_a_refusal() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "one\n").expect("it is ours");
    let token = Token::new(TokenSource::File(file.path().into()), Arc::new(NoStore));
    let one = token.get().await.expect("it is there");
    assert_eq!(one.as_ref().map(Secret::expose), Some("one"));
    std::fs::write(file.path(), "two\n").expect("it is ours");
    tokio::time::advance(FETCH_AGAIN_AFTER).await;
    assert_eq!(token.instead_of(one.as_ref()).await.as_ref().map(Secret::expose), Some("two"));
}

/// A store that answers only the first fetch, and counts fetches.
#[derive(Default)]
struct Hanging(AtomicU32);

impl Fetch for Hanging {
    fn fetch<'a>(&'a self, _: &'a Stored) -> BoxFuture<'a, Result<Secret, NotFetched>> {
        if self.0.fetch_add(1, Ordering::Relaxed) == 0 {
            return Box::pin(async { Ok(Secret::new("canary")) });
        }
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_caller_does_not_hold_up_others_while_a_store_hangs() {
    let store = Arc::new(Hanging::default());
    let token = Token::new(TokenSource::Stored(Stored::Ssm("key".into())), Arc::<Hanging>::clone(&store));
    let first = token.get().await.expect("it is there");
    tokio::time::advance(FETCH_AGAIN_AFTER).await;
    let guesses: Vec<_> = (0..10).map(|_| token.clone()).collect();
    let guesses = guesses.iter().map(|token| token.instead_of(first.as_ref()).boxed());
    let guess = tokio::time::timeout(Duration::from_secs(1), futures_util::future::join_all(guesses));
    assert!(guess.await.is_err(), "it hangs");
    assert_eq!(token.get().now_or_never(), Some(Ok(first)), "the right key is known");
    assert_eq!(store.0.load(Ordering::Relaxed), 2, "all guesses wait for one fetch");
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_compared_is_fetched_again_while_the_old_one_is_accepted() {
    let store = Arc::new(Rotating::default());
    let token = stored(&store);
    let first = token.get().await.expect("it is there");
    token.keep_fresh();
    tokio::time::advance(STORED_MAX_AGE).await;
    token.keep_fresh();
    assert_eq!(token.get().now_or_never(), Some(Ok(first.clone())), "it is returned at once");
    tokio::task::yield_now().await;
    let second = token.get().await.expect("it is there");
    assert_eq!((second.as_ref().map(Secret::expose), store.0.load(Ordering::Relaxed)), (Some("canary-1"), 2));
}

#[tokio::test(start_paused = true)]
async fn a_file_is_read_again_and_one_that_is_being_written_is_not_used() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "one\n").expect("it is ours");
    let token = Token::new(TokenSource::File(file.path().into()), Arc::new(NoStore));
    let text = || async {
        token.keep_fresh();
        token.get().await.expect("it is there").map(|secret| secret.expose().to_owned())
    };
    assert_eq!(text().await.as_deref(), Some("one"));
    for (content, seen) in [("", "one"), ("two\n", "two")] {
        std::fs::write(file.path(), content).expect("it is ours");
        tokio::time::advance(FILE_MAX_AGE).await;
        assert_eq!(text().await.as_deref(), Some(seen));
    }
    std::fs::remove_file(file.path()).expect("it is ours");
    tokio::time::advance(FILE_MAX_AGE).await;
    assert_eq!(text().await.as_deref(), Some("two"), "a file that cannot be read changes nothing at first");
}

#[tokio::test(start_paused = true)]
async fn a_secret_whose_file_was_deleted_or_emptied_is_reported_at_once_and_accepted_for_30_seconds() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let path = file.path().to_owned();
    for emptied in [true, false] {
        std::fs::write(&path, "one\n").expect("it is ours");
        let token = Token::new(TokenSource::File(path.clone()), Arc::new(NoStore));
        assert!(token.get().await.is_ok() && token.gone().is_none());
        if emptied { std::fs::write(&path, "\n") } else { std::fs::remove_file(&path) }.expect("it is ours");
        tokio::time::advance(FILE_MAX_AGE).await;
        token.keep_fresh();
        let why = token.gone().map(|why| why.to_string()).unwrap_or_default();
        assert!(why.contains(&path.display().to_string()), "{why}");
        assert!(token.get().await.is_ok(), "its writer may be about to write");
        tokio::time::advance(GONE_AFTER).await;
        assert!(matches!(token.get().await, Err(Unseen::Away(_))), "{emptied}");
        assert!(matches!(token.get().await, Err(Unseen::Away(_))), "{emptied}");
        std::fs::write(&path, "two\n").expect("it is ours");
        tokio::time::advance(FAILURE_KEPT).await;
        assert_eq!(token.get().await.expect("it is back").as_ref().map(Secret::expose), Some("two"));
        assert!(token.gone().is_none());
    }
}

/// A store whose answer the test sets.
struct Answering(Mutex<Result<Secret, NotFetched>>, AtomicU32);

impl Fetch for Answering {
    fn fetch<'a>(&'a self, _: &'a Stored) -> BoxFuture<'a, Result<Secret, NotFetched>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        let answer = self.0.lock().expect("nobody panicked").clone();
        Box::pin(async move { answer })
    }
}

#[tokio::test(start_paused = true)]
async fn a_stored_secret_that_is_deleted_or_emptied_expires_and_one_that_is_denied_or_unreachable_does_not() {
    let deleted = Err(NotFetched::Gone("ResourceNotFoundException: ".into()));
    let denied = Err(NotFetched::Unseen(Unseen::Denied("AccessDenied: ".into())));
    let away = Err(NotFetched::Unseen(Unseen::Away("timeout".into())));
    for (answer, is_gone) in [(deleted, true), (Ok(Secret::new(" \n")), true), (denied, false), (away, false)] {
        let store = Arc::new(Answering(Mutex::new(Ok(Secret::new("one"))), AtomicU32::new(0)));
        let token = Token::new(TokenSource::Stored(Stored::Ssm("key".into())), Arc::<Answering>::clone(&store));
        assert!(token.get().await.is_ok() && token.gone().is_none());
        let is_denied = matches!(answer, Err(NotFetched::Unseen(Unseen::Denied(_))));
        *store.0.lock().expect("nobody panicked") = answer;
        tokio::time::advance(STORED_MAX_AGE).await;
        token.keep_fresh();
        tokio::task::yield_now().await;
        assert_eq!((token.gone().is_some(), token.denied().is_some()), (is_gone, is_denied), "it is known at once");
        assert!(token.get().await.is_ok(), "its writer may be about to write");
        tokio::time::advance(GONE_AFTER).await;
        let asked = store.1.load(Ordering::Relaxed);
        for _ in 0..100 {
            assert_eq!(token.get().await.is_err(), is_gone, "{:?}", token.gone());
        }
        assert!(store.1.load(Ordering::Relaxed) <= asked + 1, "AWS is not called for each caller");
        *store.0.lock().expect("nobody panicked") = Ok(Secret::new("two"));
        tokio::time::advance(FETCH_AGAIN_AFTER).await;
        token.keep_fresh();
        tokio::task::yield_now().await;
        assert_eq!(token.get().await.expect("it is there").as_ref().map(Secret::expose), Some("two"));
        assert!(token.gone().is_none() && token.denied().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_stored_secret_that_never_existed_is_an_error_and_not_blank() {
    let store = Answering(Mutex::new(Err(NotFetched::Gone("ParameterNotFound: ".into()))), AtomicU32::new(0));
    let token = Token::new(TokenSource::Stored(Stored::Ssm("key".into())), Arc::new(store));
    assert!(matches!(token.get().await, Err(Unseen::Away(_))));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_failed_is_not_made_again_at_once() {
    let token = Token::new(TokenSource::File("/nowhere/token".into()), Arc::new(NoStore));
    assert!(token.get().await.is_err());
    let tried = token.state().tried;
    assert!(token.get().await.is_err());
    assert_eq!(token.state().tried, tried, "it was answered from memory");
    tokio::time::advance(FAILURE_KEPT).await;
    assert!(token.get().await.is_err());
    assert_ne!(token.state().tried, tried);
}

#[tokio::test]
async fn a_blank_token_is_none() {
    let token = Token::new(TokenSource::Literal(Secret::new(" \n")), Arc::new(NoStore));
    assert_eq!(token.get().await, Ok(None));
}

#[tokio::test]
async fn a_missing_file_is_an_error_and_not_blank() {
    let token = Token::new(TokenSource::File("/nowhere/token".into()), Arc::new(NoStore));
    assert!(matches!(token.get().await, Err(Unseen::Away(_))));
}
