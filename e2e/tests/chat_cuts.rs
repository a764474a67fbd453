//! Links that break at every frame of a chat, and within those that a device sends: nothing that was taken is lost, shown twice
//! or told twice, and a user's other device knows all that the one with the broken link knows.

use std::collections::HashMap;
use std::time::Instant;

use chappe_e2e::chat::{Handset, Kind, Place, Side, Trap, turn};
use chappe_e2e::{Options, PATIENCE, Server};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Sender,
    Recipient,
}

/// Two texts from one user to another, who reads them on the first device.
#[derive(Debug, Clone, Copy)]
struct Scene {
    kind: Kind,
    /// Of the recipient.
    devices: usize,
    who: Who,
    trap: Option<Trap>,
}

/// The devices of a scene: the sender's, then the recipient's.
struct Cast {
    scene: Scene,
    at: usize,
}

const TEXTS: [usize; 2] = [20, 3000];

fn cast(scenes: &[Scene]) -> (Vec<Cast>, Vec<Handset>) {
    let (mut casts, mut all) = (Vec::new(), Vec::new());
    for (number, scene) in scenes.iter().enumerate() {
        casts.push(Cast { scene: *scene, at: all.len() });
        let (a, b) = (2 * number, 2 * number + 1);
        all.push(Handset::new(a, 0, b, scene.kind));
        for device in 0..scene.devices {
            let mut handset = Handset::new(b, device, a, scene.kind);
            handset.displays = device == 0;
            all.push(handset);
        }
    }
    (casts, all)
}

/// Has all scenes played at once, up to their ends.
fn play(scenes: &[Scene]) -> (Vec<Cast>, Vec<Handset>) {
    let settings = [("LIMITS__USER_RATE", "0"), ("LIMITS__CONNECTIONS_PER_PEER", "100000"), ("LOG__LEVEL", "warn")];
    let settings = settings.map(|(name, value)| (name, value.to_owned())).to_vec();
    let mut server = Server::start_with(Options { accounts: 2 * scenes.len(), settings, ..Options::default() });
    let (casts, mut all) = cast(scenes);
    all.iter_mut().for_each(|one| one.on(&server));
    let deadline = Instant::now() + PATIENCE;
    while !all.iter().all(Handset::is_registered) {
        turn(&mut all, &server);
        all.iter_mut().filter(|one| one.may_come_back()).for_each(|one| one.on(&server));
        assert!(Instant::now() < deadline, "not all are registered");
    }
    for cast in &casts {
        let trapped = cast.at + usize::from(cast.scene.who == Who::Recipient);
        // Frames count from here.
        all[trapped].frames.clear();
        all[trapped].trap = cast.scene.trap;
        for (number, length) in TEXTS.iter().enumerate() {
            all[cast.at].write(&format!("{number} {}", "word ".repeat(length / 5)));
        }
        all[cast.at].step(&server);
    }
    let mut open: Vec<&Cast> = casts.iter().collect();
    let (mut last, mut since) = (open.len(), Instant::now());
    while !open.is_empty() {
        turn(&mut all, &server);
        for one in &mut all {
            if one.may_come_back() {
                one.on(&server);
            }
        }
        open.retain(|cast| cast.missing(&all).is_some());
        if open.len() != last {
            (last, since) = (open.len(), Instant::now());
        }
        if since.elapsed() > PATIENCE * 2 {
            let missing: Vec<_> = open.iter().map(|cast| (cast.scene, cast.missing(&all), cast.frames(&all))).collect();
            panic!("{} scenes do not end: {:#?}", missing.len(), &missing[..missing.len().min(10)]);
        }
    }
    // What is told twice or comes too late comes behind what waits.
    let deadline = Instant::now() + PATIENCE;
    while server.counts()[2] > 0 {
        turn(&mut all, &server);
        assert!(Instant::now() < deadline, "{} messages wait", server.counts()[2]);
    }
    server.stop();
    (casts, all)
}

impl Cast {
    fn trapped<'a>(&self, all: &'a [Handset]) -> &'a Handset {
        &all[self.at + usize::from(self.scene.who == Who::Recipient)]
    }

    fn frames<'a>(&self, all: &'a [Handset]) -> &'a HashMap<Side, usize> {
        &self.trapped(all).frames
    }

    /// What is not as it will be in the end.
    fn missing(&self, all: &[Handset]) -> Option<&'static str> {
        let (a, rest) = (&all[self.at], &all[self.at + 1..=self.at + self.scene.devices]);
        let told = |kind| a.texts().all(|text| a.told(&text.id, kind) > 0);
        if !a.is_done() {
            return Some("a 200 for each text");
        }
        if rest.iter().any(|b| b.screen.len() < TEXTS.len()) {
            return Some("each text on each screen");
        }
        if !told("delivered") || !told("displayed") {
            return Some("what became of each text");
        }
        let knows = |b: &Handset| a.texts().all(|text| b.told(&text.id, "displayed") > 0);
        (self.scene.kind == Kind::Cpm && !rest[1..].iter().all(knows)).then_some("that it was read elsewhere")
    }

    fn check(&self, all: &[Handset], faults: &mut Vec<String>) {
        let (a, rest) = (&all[self.at], &all[self.at + 1..=self.at + self.scene.devices]);
        let sent: Vec<_> = a.texts().map(|text| (text.id.clone(), text.text.clone())).collect();
        let mut wrong = |what: String| faults.push(format!("{:?}: {what}", self.scene));
        for b in rest {
            if b.screen != sent {
                wrong(format!("a screen shows {:?}", b.screen.iter().map(|(id, _)| id).collect::<Vec<_>>()));
            }
        }
        for (id, _) in &sent {
            for kind in ["delivered", "displayed"] {
                if a.told(id, kind) != 1 {
                    wrong(format!("{id} was {kind} {} times", a.told(id, kind)));
                }
            }
            for b in &rest[1..] {
                if b.told(id, "displayed") > 1 {
                    wrong(format!("the other device was told {} times that {id} was read", b.told(id, "displayed")));
                }
            }
        }
        for one in [a].into_iter().chain(rest) {
            one.faults.iter().for_each(|fault| wrong(fault.clone()));
        }
    }
}

/// Every scene that has its link broken somewhere.
fn scenes() -> Vec<Scene> {
    let mut plain = Vec::new();
    for kind in [Kind::SimpleIm, Kind::Cpm] {
        for devices in [1, 2] {
            for who in [Who::Recipient, Who::Sender] {
                plain.push(Scene { kind, devices, who, trap: None });
            }
        }
    }
    let (casts, all) = play(&plain);
    let mut scenes = Vec::new();
    for cast in &casts {
        for side in [Side::SipIn, Side::SipOut, Side::MsrpIn, Side::MsrpOut] {
            let places = if matches!(side, Side::SipOut | Side::MsrpOut) { &Place::ALL[..] } else { &Place::ALL[..1] };
            for frame in 0..cast.frames(&all).get(&side).copied().unwrap_or_default() {
                for place in places.iter().copied() {
                    for broken in [false, true] {
                        let trap = Some(Trap { side, frame, place, all: broken });
                        scenes.push(Scene { trap, ..cast.scene });
                    }
                }
            }
        }
    }
    scenes
}

fn check(scenes: &[Scene]) {
    let begun = Instant::now();
    let (casts, all) = play(scenes);
    let mut faults = Vec::new();
    casts.iter().for_each(|cast| cast.check(&all, &mut faults));
    // A frame may be of another way or not be there in another run.
    let broken = casts.iter().filter(|cast| cast.trapped(&all).cuts == 1).count();
    println!("{broken} of {} links broke; {:?}", scenes.len(), begun.elapsed());
    assert!(broken * 10 >= scenes.len() * 8, "{broken} of {} links broke", scenes.len());
    assert!(faults.is_empty(), "{} of {}: {:#?}", faults.len(), scenes.len(), &faults[..faults.len().min(20)]);
}

#[test]
#[ignore = "takes minutes; run by make soak"]
fn a_link_breaks_at_every_frame() {
    // As many as a server that was built for tests keeps up with.
    const AT_ONCE: usize = 100;
    scenes().chunks(AT_ONCE).for_each(check);
}
