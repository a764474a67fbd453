// Groups: made at the factory, changed by requests to their focus, followed by the conference event package.

import { nameAddr, uriOf, userOf } from '../wire/address';
import { newId, writeEnvelope } from '../wire/cpim';
import { LIST_TYPE, writeList } from '../wire/lists';
import { writeParts } from '../wire/multipart';
import { GROUP_DATA_TYPE, ROSTER_TYPE, type Roster, takeRoster, writeIcon, writeSubject } from '../wire/roster';
import type { Chat } from './chat';
import type { Answer, Content, Line, Watch } from './line';
import type { GroupInfo } from './model';

const FACTORY = 'conference-factory';
const SERVICE = 'urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.session.group';
/** Groups whose rosters are followed: those last heard of. */
const FOLLOWED = 50;
/** Milliseconds until a subscription that ended is tried again. */
const AGAIN = 10_000;
/** Milliseconds in which changes are taken together. */
const SETTLE = 100;
/** Says that the user leaves, and not only this session. */
const LEAVES = 'Reason: SIP;cause=200;text="Call completed"';
/** A description of a session that nobody means to have: we take part by MESSAGE. */
const DESCRIPTION =
  'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=message 9 TCP/MSRP *\r\na=setup:active\r\n' +
  'a=accept-types:message/cpim\r\na=accept-wrapped-types:*\r\na=path:msrp://127.0.0.1:9/none;tcp\r\n';

/** What came of a wish: whether it was granted, or the status that says why not. */
export type Outcome = { ok: true } | { ok: false; status: number };

export class Groups {
  private readonly watches = new Map<string, Watch>();
  private readonly rosters = new Map<string, Roster>();
  private readonly timers = new Set<ReturnType<typeof setTimeout>>();
  private online = false;
  private changing: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly me: string,
    private readonly line: Line,
    private readonly chat: Chat,
  ) {
    chat.onGroup = (focus) => this.changed(focus);
  }

  /** There is a connection, a new one perhaps: whoever was followed is followed anew. */
  arrived(): void {
    this.left();
    this.online = true;
    const known = this.chat.conversations.value.filter(({ group }) => group && !group.left);
    known.slice(0, FOLLOWED).forEach(({ peer }) => this.follow(peer));
  }

  left(): void {
    this.online = false;
    clearTimeout(this.changing);
    this.timers.forEach((timer) => clearTimeout(timer));
    this.timers.clear();
    this.watches.forEach((watch) => watch.stop());
    this.watches.clear();
    this.rosters.clear();
  }

  /** Makes a group; gives its focus, or the status of the refusal. */
  async create(subject: string, users: readonly string[], contribution = newId()): Promise<string | number> {
    const boundary = `list-${newId()}`;
    const text = writeParts(boundary, [
      { headers: ['Content-Type: application/sdp'], body: DESCRIPTION },
      { headers: [`Content-Type: ${LIST_TYPE}`, 'Content-Disposition: recipient-list'], body: writeList(users.map(uriOf)) },
    ]);
    const headers = [...this.headers(contribution), 'Require: recipient-list-invite'];
    if (subject) headers.push(`Subject: ${subject.replace(/[\r\n]+/g, ' ')}`);
    const domain = this.me.slice(this.me.lastIndexOf('@'));
    const content = { type: `multipart/mixed;boundary="${boundary}"`, text };
    const answer = await this.line.touch(`sip:${FACTORY}${domain}`, headers, content);
    const focus = this.focusOf(answer);
    if (answer.status >= 300 || !focus) return answer.status;
    const member = (user: string) => ({ user, name: '', role: 'member' as const, there: false });
    const members = [{ ...member(this.me), role: 'owner' as const, there: true }, ...users.map(member)];
    await this.chat.describeGroup(focus, { subject, members, contribution });
    this.follow(focus);
    return focus;
  }

  add(focus: string, users: readonly string[]): Promise<Outcome> {
    const [user] = users;
    if (users.length === 1 && user) return this.refer(focus, `<${uriOf(user)}>`);
    const content = { type: LIST_TYPE, text: writeList(users.map(uriOf)) };
    const headers = ['Require: multiple-refer', 'Content-Disposition: recipient-list', `Content-ID: <${newId()}@list>`];
    return this.refer(focus, `<cid:${headers[2]!.slice(13, -1)}>`, headers, content);
  }

  remove(focus: string, user: string): Promise<Outcome> {
    return this.refer(focus, `<${uriOf(user)};method=BYE>`);
  }

  /** For good: only others can bring us back. */
  async leave(focus: string): Promise<Outcome> {
    const contribution = this.info(focus)?.contribution || newId();
    const content = { type: 'application/sdp', text: DESCRIPTION };
    const answer = await this.line.touch(uriOf(focus), this.headers(contribution), content, [LEAVES]);
    // Who is not in any more has what it wished for.
    if (answer.status >= 300 && ![403, 404, 410].includes(answer.status)) return outcome(answer);
    this.unfollow(focus);
    await this.chat.describeGroup(focus, { left: true }, { by: this.me, change: { kind: 'left', users: [this.me] } });
    return { ok: true };
  }

  rename(focus: string, subject: string): Promise<Outcome> {
    return this.data(focus, writeSubject(`s${newId()}`, subject));
  }

  setIcon(focus: string, url: string): Promise<Outcome> {
    return this.data(focus, writeIcon(`i${newId()}`, url));
  }

  private info(focus: string): GroupInfo | undefined {
    return this.chat.ledger.conversation(focus)?.group;
  }

  private headers(contribution: string): string[] {
    return [
      `Accept-Contact: *;+g.3gpp.icsi-ref="${SERVICE}"`,
      `Contribution-ID: ${contribution}`,
      `Conversation-ID: ${contribution}`,
    ];
  }

  private focusOf(answer: Answer): string | undefined {
    const contact = answer.header('contact') ?? '';
    return userOf(nameAddr(contact).uri, this.me.slice(this.me.lastIndexOf('@') + 1));
  }

  private async refer(focus: string, target: string, headers: string[] = [], content?: Content): Promise<Outcome> {
    const all = [`Refer-To: ${target}`, 'Refer-Sub: false', ...headers];
    return outcome(await this.line.request('REFER', uriOf(focus), all, content));
  }

  private async data(focus: string, document: string): Promise<Outcome> {
    const text = writeEnvelope({
      from: `<${uriOf(this.me)}>`, to: `<${uriOf(focus)}>`, at: new Date(), id: newId(),
      wants: { delivery: false, display: false }, contentType: GROUP_DATA_TYPE, body: document,
    });
    return outcome(await this.line.request('MESSAGE', uriOf(focus), [], { type: 'message/cpim', text }));
  }

  private unfollow(focus: string): void {
    this.watches.get(focus)?.stop();
    this.watches.delete(focus);
    this.rosters.delete(focus);
  }

  /** Something has changed: the roster is asked for at once, since the server tells of changes only now and then. */
  private changed(focus: string): void {
    const watch = this.watches.get(focus);
    if (!watch) return this.follow(focus);
    clearTimeout(this.changing);
    this.changing = setTimeout(() => watch.refresh(), SETTLE);
  }

  private follow(focus: string): void {
    if (!this.online || this.watches.has(focus)) return;
    const news = (_type: string, body: string) => void this.news(focus, body);
    const end = () => {
      this.watches.delete(focus);
      this.rosters.delete(focus);
      void this.ended(focus);
    };
    const watch = this.line.watch(uriOf(focus), 'conference', ROSTER_TYPE, news, end);
    if (watch) this.watches.set(focus, watch);
  }

  /** Why a subscription has ended: because we are not in any more, or for a while. */
  private async ended(focus: string): Promise<void> {
    const { status } = await this.line.request('SUBSCRIBE', uriOf(focus), [
      'Event: conference', `Accept: ${ROSTER_TYPE}`, 'Expires: 0', this.line.contact,
    ]);
    if (!this.online) return;
    if ([403, 404, 410].includes(status)) return this.chat.describeGroup(focus, { left: true });
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      this.follow(focus);
    }, AGAIN);
    this.timers.add(timer);
  }

  private async news(focus: string, body: string): Promise<void> {
    const taken = takeRoster(this.rosters.get(focus), body, this.me.slice(this.me.lastIndexOf('@') + 1));
    if ('fault' in taken) {
      if (taken.fault !== 'gap') return;
      this.unfollow(focus);
      return this.follow(focus);
    }
    const { roster } = taken;
    this.rosters.set(focus, roster);
    if (roster.over) return this.chat.describeGroup(focus, { left: true, members: [] });
    const left = !roster.members.some(({ user }) => user === this.me);
    await this.chat.describeGroup(focus, { subject: roster.subject, icon: roster.icon, members: roster.members, left });
  }
}

function outcome(answer: Answer): Outcome {
  return answer.status < 300 ? { ok: true } : { ok: false, status: answer.status };
}
