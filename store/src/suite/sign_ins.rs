use crate::{SignIn, SignInKind, Stores};

fn sign_in(aor: &str, id: &str) -> SignIn {
    SignIn {
        aor: aor.into(),
        id: id.into(),
        kind: SignInKind::Token,
        name: format!("{id} of {aor}").into(),
        created: 1,
        last_seen: 2,
        expires: u64::from(u32::MAX) * 4,
        turn: 7,
        scope: "sip xcap".into(),
    }
}

async fn all(stores: &Stores) -> Vec<SignIn> {
    let mut all: Vec<SignIn> = Vec::new();
    loop {
        let after = all.last().map(|last| (&*last.aor, &*last.id));
        let page = stores.sign_ins.sign_ins(after, 2).await.unwrap();
        let end = page.len() < 2;
        all.extend(page);
        if end {
            all.sort_by(|a, b| (&a.aor, &a.id).cmp(&(&b.aor, &b.id)));
            return all;
        }
    }
}

pub(super) async fn reads_back_what_was_put(stores: &Stores) {
    let device = SignIn { kind: SignInKind::Device, turn: 0, scope: "".into(), ..sign_in("b@d", "2") };
    for put in [sign_in("a@d", "1"), sign_in("a@d", "2"), sign_in("c@d", "1"), device.clone(), sign_in("a@d", "3")] {
        stores.sign_ins.put(put).await.unwrap();
    }
    let later = SignIn { last_seen: 9, turn: 8, ..sign_in("a@d", "2") };
    stores.sign_ins.put(later.clone()).await.unwrap();
    assert_eq!(all(stores).await, [sign_in("a@d", "1"), later, sign_in("a@d", "3"), device, sign_in("c@d", "1")]);
}

pub(super) async fn one_or_all_of_a_user_go(stores: &Stores) {
    for put in [sign_in("a@d", "1"), sign_in("a@d", "2"), sign_in("a@d", "3"), sign_in("b@d", "1")] {
        stores.sign_ins.put(put).await.unwrap();
    }
    assert_eq!(stores.sign_ins.sign_out("a@d", Some("2")).await.unwrap(), 1);
    assert_eq!(stores.sign_ins.sign_out("a@d", Some("2")).await.unwrap(), 0);
    assert_eq!(stores.sign_ins.sign_out("b@d", Some("2")).await.unwrap(), 0);
    assert_eq!(stores.sign_ins.sign_out("a@d", None).await.unwrap(), 2);
    assert_eq!(all(stores).await, [sign_in("b@d", "1")]);
}
