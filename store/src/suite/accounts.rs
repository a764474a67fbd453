use crate::{Account, AccountError, Secrets, Stores, Wishes};

fn account(user: &str, tel: &[&str]) -> Account {
    let byte = user.len() as u8;
    Account {
        aor: format!("{user}@example.com").into(),
        secrets: Secrets([byte; Secrets::LEN]),
        tel: tel.iter().map(|tel| (*tel).into()).collect(),
        display_name: format!("{user} Ünser").into(),
        created: 1_700_000_000,
        disabled: false,
        wishes: Wishes::default(),
    }
}

pub(super) async fn reads_back_what_was_added(stores: &Stores) {
    let bob = account("bob", &["+15550001", "+15550002"]);
    stores.accounts.add(bob.clone()).await.unwrap();
    assert_eq!(stores.accounts.account("bob@example.com").await.unwrap(), Some(bob));
    assert_eq!(stores.accounts.account("bob@example.org").await.unwrap(), None);
    assert_eq!(stores.accounts.aor_of("+15550002").await.unwrap().as_deref(), Some("bob@example.com"));
    assert_eq!(stores.accounts.aor_of("+15550003").await.unwrap(), None);
    assert_eq!(stores.accounts.count().await.unwrap(), 1);
}

pub(super) async fn refuses_a_taken_aor_or_number(stores: &Stores) {
    let accounts = &stores.accounts;
    accounts.add(account("bob", &["+1"])).await.unwrap();
    assert!(matches!(accounts.add(account("bob", &[])).await, Err(AccountError::Exists)));
    let taken = accounts.add(account("carol", &["+2", "+1"])).await;
    assert!(matches!(taken, Err(AccountError::TelTaken { tel }) if &*tel == "+1"));
    // Nothing of the refused one is left.
    assert_eq!(accounts.aor_of("+2").await.unwrap(), None);
    assert_eq!(accounts.count().await.unwrap(), 1);
    // Of many that want the same at once, one gets it.
    let all: Vec<_> = (0..20).map(|n| accounts.add(account(&format!("user{n}"), &["+3"]))).collect();
    let added = futures_util::future::join_all(all).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(added, 1);
}

pub(super) async fn updates_move_numbers(stores: &Stores) {
    let accounts = &stores.accounts;
    assert!(matches!(accounts.update(account("bob", &[])).await, Err(AccountError::NotFound)));
    accounts.add(account("bob", &["+1", "+2"])).await.unwrap();
    accounts.add(account("carol", &["+3"])).await.unwrap();
    let wishes = Wishes { blocked: vec!["sip:eve@example.com".into(), "tel:+3".into()], hides_displayed: true };
    let next = Account { disabled: true, created: 5, wishes, ..account("bob", &["+2", "+4"]) };
    accounts.update(next.clone()).await.unwrap();
    let created = account("bob", &[]).created;
    assert_eq!(accounts.account("bob@example.com").await.unwrap(), Some(Account { created, ..next }));
    assert_eq!(accounts.aor_of("+1").await.unwrap(), None);
    assert_eq!(accounts.aor_of("+4").await.unwrap().as_deref(), Some("bob@example.com"));
    assert!(matches!(accounts.update(account("bob", &["+3"])).await, Err(AccountError::TelTaken { .. })));
    assert_eq!(accounts.aor_of("+2").await.unwrap().as_deref(), Some("bob@example.com"));

    let secrets = Secrets([9; Secrets::LEN]);
    accounts.set_secrets("bob@example.com", secrets).await.unwrap();
    assert_eq!(accounts.account("bob@example.com").await.unwrap().map(|bob| bob.secrets), Some(secrets));
    assert!(matches!(accounts.set_secrets("nobody@example.com", secrets).await, Err(AccountError::NotFound)));
}

pub(super) async fn removal_frees_the_numbers(stores: &Stores) {
    let accounts = &stores.accounts;
    accounts.add(account("bob", &["+1"])).await.unwrap();
    accounts.remove("bob@example.com").await.unwrap();
    assert!(matches!(accounts.remove("bob@example.com").await, Err(AccountError::NotFound)));
    assert_eq!(accounts.account("bob@example.com").await.unwrap(), None);
    accounts.add(account("carol", &["+1"])).await.unwrap();
    assert_eq!(accounts.aor_of("+1").await.unwrap().as_deref(), Some("carol@example.com"));
}

pub(super) async fn pages_give_each_account_once(stores: &Stores) {
    let accounts: Vec<_> = (0..25).map(|n| account(&format!("user{n}"), &[&format!("+1555{n:04}")])).collect();
    stores.accounts.import(accounts.clone()).await.unwrap();
    let (mut all, mut after) = (Vec::new(), None::<Box<str>>);
    loop {
        let page = stores.accounts.page(after.as_deref(), 7).await.unwrap();
        all.extend(page.iter().cloned());
        if page.len() < 7 {
            break;
        }
        after = page.last().map(|account| account.aor.clone());
    }
    all.sort_by_key(|account| account.tel.clone());
    assert_eq!(all, accounts);
}

pub(super) async fn import_leaves_out_what_is_taken(stores: &Stores) {
    stores.accounts.add(account("user3", &["+3"])).await.unwrap();
    let mut list: Vec<_> = (0..2500).map(|n| account(&format!("user{n}"), &[])).collect();
    list[10].tel = vec!["+3".into()];
    list[2000].tel = vec!["+20".into(), "+20".into()];
    list[2001].tel = vec!["+20".into()];
    list.push(account("user7", &[]));
    let imported = stores.accounts.import(list).await.unwrap();
    let refused: Vec<usize> = imported.refused.iter().map(|(at, _)| *at).collect();
    assert_eq!((imported.added, refused), (2497, vec![3, 10, 2001, 2500]));
    assert_eq!(stores.accounts.count().await.unwrap(), 2498);
    assert_eq!(stores.accounts.aor_of("+20").await.unwrap().as_deref(), Some("user2000@example.com"));
}
