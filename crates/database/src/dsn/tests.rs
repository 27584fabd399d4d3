//! What strings say, and which are refused.

use std::time::Duration;

use super::{Dsn, Mode, Root};

#[test]
fn pairs_and_urls_say_the_same() {
    for text in [
        r"host=a port=5 user=me password='it''s?' dbname=shop sslmode=verify-full sslrootcert='/x y/root.crt'"
            .replace("it''s", r"it\'s")
            .as_str(),
        "postgres://me:it's?@a:5/shop?sslmode=verify-full&sslrootcert=%2Fx%20y/root.crt",
    ] {
        let dsn = Dsn::parse(text).expect("good");
        assert_eq!(dsn.mode, Mode::VerifyFull, "{text}");
        assert_eq!(dsn.root, Some(Root::File("/x y/root.crt".into())));
        assert_eq!(dsn.config.get_dbname(), Some("shop"));
        assert_eq!(dsn.config.get_user(), Some("me"));
        assert_eq!(dsn.config.get_password(), Some(&b"it's?"[..]));
        assert_eq!(dsn.address(), "a:5");
        // What is made of it is read in the same way.
        let again = Dsn::parse(&dsn.within("other")).expect("good");
        assert_eq!((again.mode, &again.root), (dsn.mode, &dsn.root));
        assert_eq!(again.config.get_password(), dsn.config.get_password());
        assert_eq!(again.config.get_dbname(), Some("other"));
    }
}

#[test]
fn how_long_to_wait_for_a_side_that_is_silent_is_said_where_it_is_not() {
    for text in [
        "host=a port=5 keepalives_count=7",
        "postgres://me:it's?@a:5/shop?keepalives_count=7",
        "postgres://me:it's?@a:5/shop?sslmode=require&keepalives_count=7",
        "postgresql://a:5?keepalives_count=7",
    ] {
        let dsn = Dsn::parse(&Dsn::with_patience(text)).expect("good");
        let config = &dsn.config;
        assert_eq!(
            config.get_tcp_user_timeout(),
            Some(&Duration::from_secs(20))
        );
        assert_eq!(config.get_keepalives_idle(), Duration::from_secs(5));
        assert_eq!(
            config.get_keepalives_interval(),
            Some(Duration::from_secs(5))
        );
        assert_eq!(config.get_keepalives_retries(), Some(7), "{text}");
        let plain = Dsn::parse(text).expect("good");
        assert_eq!(
            (dsn.address(), config.get_dbname(), config.get_password()),
            (
                plain.address(),
                plain.config.get_dbname(),
                plain.config.get_password()
            )
        );
    }
    let own = Dsn::with_patience("postgres://a/b");
    let own = Dsn::parse(&own).expect("good");
    assert_eq!(own.config.get_keepalives_retries(), Some(3));
    assert!(Dsn::parse("host=a tcp_user_timeout=soon").is_err());
}

#[test]
fn what_is_not_said_is_as_libpq_has_it() {
    let mode = |text: &str| Dsn::parse(text).expect("good").mode;
    assert_eq!(mode("host=a"), Mode::Prefer);
    assert_eq!(mode("host=a sslmode=''"), Mode::Prefer);
    assert_eq!(mode("host=a sslrootcert=system"), Mode::VerifyFull);
    assert_eq!(mode("postgresql://a/b?ssl=true"), Mode::Require);
    assert_eq!(mode("host=/run/postgresql sslmode=require"), Mode::Disable);
    assert_eq!(mode("hostaddr=127.0.0.1 sslmode=verify-ca"), Mode::VerifyCa);
    assert_eq!(mode("host = a  sslmode = require "), Mode::Require);
    assert_eq!(mode("host=a gssencmode=disable"), Mode::Prefer);
}

#[test]
fn what_makes_no_sense_is_refused_and_the_password_is_not_repeated() {
    for (text, why) in [
        (
            "host=a password=secret sslmode=verify",
            "sslmode=verify is none of",
        ),
        (
            "host=a password=secret sslrootcert=system sslmode=require",
            "only verify-full",
        ),
        ("host=a password=secret sslcrl=/x", "no revocation lists"),
        ("host=a password=secret gssencmode=require", "GSSAPI"),
        (
            "host=a password='secret",
            "the quote of password does not end",
        ),
        ("host=a password=secret nonsense=1", "nonsense"),
        ("postgres://u:secret@a/b?sslmode=%zz", "hexadecimal"),
        ("host", "no `=`"),
    ] {
        let error = Dsn::parse(text).expect_err(text);
        assert!(error.contains(why), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    let error = Dsn::check("host=a sslrootcert=root.crt").expect_err("relative");
    assert!(error.contains("write the whole"), "{error}");
}
