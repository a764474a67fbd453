//! The contract of each trait as tests that every back end runs.

mod accounts;
mod conversations;
mod crash;
mod devices;
mod documents;
mod fates;
mod files;
mod groups;
mod locations;
mod model;
mod postgres;
mod queue;
mod receipt_states;
mod receipts;
mod sign_ins;
mod sqlite;
mod traces;

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use chappe_sip::registrar::{Binding, Parts};

use crate::{NewMessage, Stores, Wants};

/// A case and its name.
type Case = (&'static str, fn(Stores) -> Pin<Box<dyn Future<Output = ()>>>);

/// Makes of each case a test on memory and one on SQLite, and the list that PostgreSQL runs on its one server.
macro_rules! cases {
    ($($module:ident { $($case:ident)* })*) => {
        const ALL: &[Case] = &[$($((
            concat!(stringify!($module), "::", stringify!($case)),
            |stores| Box::pin(async move { $module::$case(&stores).await }),
        )),*),*];

        mod on_memory {
            $(mod $module { $(
                #[tokio::test]
                async fn $case() {
                    crate::suite::$module::$case(&crate::Stores::memory()).await;
                }
            )* })*
        }

        mod on_sqlite {
            $(mod $module { $(
                #[tokio::test]
                async fn $case() {
                    let dir = tempfile::tempdir().unwrap();
                    let stores = crate::Stores::open("sqlite:", dir.path()).await.unwrap();
                    crate::suite::$module::$case(&stores).await;
                    stores.close().await.unwrap();
                }
            )* })*
        }
    };
}

cases! {
    accounts {
        reads_back_what_was_added
        refuses_a_taken_aor_or_number
        updates_move_numbers
        removal_frees_the_numbers
        pages_give_each_account_once
        import_leaves_out_what_is_taken
    }
    locations {
        reads_back_all_but_the_flow
        replace_needs_the_revision_it_was_computed_from
        revisions_do_not_come_back
        of_two_replacing_at_once_one_is_told
        save_overwrites_and_removes
        scan_gives_each_aor_once
        expired_bindings_go
    }
    queue {
        reads_back_what_was_appended
        ids_rise_in_the_order_given
        a_device_gets_its_own_and_those_for_any
        many_recipients_in_one_call
        settled_once_by_whoever_comes_first
        settle_and_append_in_one_write
        copies_take_the_place_of_what_is_settled
        a_receipt_is_stored_once
        expired_stay_until_settled
        depths_are_exact
        counts_balance
    }
    fates {
        the_queue_tells_of_its_messages
        recorded_ones_are_found_at_once
        purge_forgets
    }
    receipts {
        first_is_told_once
        forgotten_by_time
    }
    devices {
        the_latest_report_stays
        removed_and_forgotten
        the_longest_unseen_makes_room
        all_are_found_page_by_page
    }
    conversations {
        pages_both_ways
        no_call_gives_more_than_a_thousand
        lists_by_the_last_entry
        one_write_with_the_queue
        members_come_later
        each_erases_for_himself
        a_user_is_erased_whole
        the_oldest_go_first
        nothing_is_missed_while_entries_find_their_places
    }
    receipt_states {
        each_step_is_news_once
        of_many_at_once_one_is_told
        one_write_with_the_queue
        forgotten_by_the_last_step
    }
    groups {
        reads_back_what_was_made
        of_two_that_create_one_thread_one_is_told_of_the_other
        a_change_needs_the_revision_that_it_was_computed_from
        an_old_token_writes_nothing
        sequences_have_no_gaps
        cursors_move_forward_only
        a_user_has_the_groups_that_he_is_in
        old_entries_go
        ten_thousand_members
        random_operations_agree_with_the_model
    }
    files {
        reads_back_what_was_added
        the_last_of_a_transfer_is_found
        quota_counts_what_is_there
        of_many_at_once_no_more_fit_than_the_quota_has_room_for
        contents_are_needed_while_a_file_has_them
        lists_and_finds_what_has_expired
        what_is_used_is_the_sum_of_what_is_there
    }
    documents {
        reads_back_what_was_written
        a_write_needs_the_tag_that_it_was_computed_from
        what_it_was_before_is_kept
        a_name_belongs_to_one_document
        an_owner_has_bounds
        writes_of_many_owners_at_once
        pages_by_owner
        an_owner_is_removed_whole
    }
    sign_ins {
        reads_back_what_was_put
        one_or_all_of_a_user_go
    }
    traces {
        what_waits_is_found_by_any_name_in_it
        a_member_was_never_there
        conversations_and_fates_go
        a_name_within_a_longer_one_is_left_alone
    }
    model {
        random_operations_agree_with_the_model
    }
}

fn binding(instance: &str, expires: u64) -> Binding {
    Binding::new(Parts {
        contact: &format!("sip:{instance}@192.0.2.7:5061;transport=tls"),
        params: ";+g.oma.sip-im;audio",
        instance_id: Some(&format!("urn:uuid:{instance}")),
        reg_id: Some(1),
        call_id: "3848276298220188511",
        cseq: 17,
        q: 700,
        path: "<sip:edge.example.com;lr>",
        flow: None,
        received: "198.51.100.3:40112",
        registered: 1_000,
        expires,
        user_agent: "Phone/1.0",
        dormant: false,
    })
    .unwrap()
}

fn message(recipient: &str, device: Option<&str>, text: &str) -> NewMessage {
    NewMessage {
        recipient: recipient.into(),
        device: device.map(Into::into),
        sender: "alice@example.com".into(),
        message_id: Some(format!("id-{text}").into()),
        call_id: format!("call-{text}").into(),
        headers: Bytes::from_static(b"From: <sip:alice@example.com>"),
        body: Bytes::from(text.to_owned()),
        accepted_ms: 1_700_000_000_123,
        expires_at: 1_700_086_400,
        wants: Wants::POSITIVE_DELIVERY | Wants::DISPLAY,
        once: None,
    }
}
