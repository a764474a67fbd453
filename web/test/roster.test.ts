// @vitest-environment happy-dom
import { describe, expect, it } from 'vitest';
import { type Roster, readChanges, takeRoster, writeIcon, writeSubject } from '../src/wire/roster';

const document = (state: string, version: number, inside: string) =>
  `<conference-info xmlns="urn:ietf:params:xml:ns:conference-info" entity="sip:g@d" state="${state}" version="${version}">${inside}</conference-info>`;
const user = (name: string, role: string, status = 'connected', more = '') =>
  `<user entity="sip:${name}@d" state="full"><display-text>${name}!</display-text><roles><entry>${role}</entry></roles>` +
  `<endpoint entity="sip:${name}@d"><status>${status}</status>${more}</endpoint></user>`;
const full = document(
  'full', 1,
  '<conference-description><subject>Trip</subject><icon xmlns="urn:oma"><icon-uri>http://h/ft/t/1</icon-uri></icon></conference-description>' +
    `<users state="full">${user('ada', 'Owner')}${user('bob', 'Participant', 'pending')}</users>`,
);

function after(...documents: string[]): Roster {
  let roster: Roster | undefined;
  for (const xml of documents) {
    const taken = takeRoster(roster, xml, 'd');
    if ('roster' in taken) roster = taken.roster;
  }
  return roster!;
}

describe('rosters', () => {
  it('are read whole', () => {
    expect(after(full)).toEqual({
      version: 1, subject: 'Trip', icon: 'http://h/ft/t/1', over: false,
      members: [
        { user: 'ada@d', name: 'ada!', role: 'owner', there: true },
        { user: 'bob@d', name: 'bob!', role: 'member', there: false },
      ],
    });
  });

  it('change in parts: who comes, goes and was removed', () => {
    const comes = document('partial', 2, `<users state="partial">${user('carol', 'Administrator')}${user('bob', 'Participant')}</users>`);
    expect(after(full, comes).members.map(({ user, role, there }) => [user, role, there])).toEqual([
      ['ada@d', 'owner', true], ['bob@d', 'member', true], ['carol@d', 'admin', true],
    ]);
    const booted = user('bob', 'Participant', 'disconnected', '<disconnection-method>booted</disconnection-method>');
    const goes = document('partial', 3, `<users state="partial">${booted}<user entity="sip:carol@d" state="deleted"/></users>`);
    expect(after(full, comes, goes).members.map((one) => one.user)).toEqual(['ada@d']);
    const renamed = document('partial', 2, '<conference-description><subject>Other</subject></conference-description>');
    expect(after(full, renamed)).toMatchObject({ subject: 'Other', icon: '', members: [{ user: 'ada@d' }, { user: 'bob@d' }] });
  });

  it('know what is old, what is missing, and what is over', () => {
    const before = after(full);
    expect(takeRoster(before, full, 'd')).toEqual({ fault: 'old' });
    expect(takeRoster(before, document('partial', 3, ''), 'd')).toEqual({ fault: 'gap' });
    expect(takeRoster(undefined, document('partial', 3, ''), 'd')).toEqual({ fault: 'gap' });
    expect(after(full, document('full', 9, '<users state="full"/>'))).toMatchObject({ version: 9, subject: '', members: [] });
    expect(after(full, document('deleted', 2, ''))).toMatchObject({ over: true, members: [] });
    for (const junk of ['', '<x/>', '<conference-info/>', '<conference-info version="x"/>']) {
      expect(takeRoster(before, junk, 'd')).toEqual({ fault: 'junk' });
    }
  });
});

describe('changes', () => {
  const method = (name: string, more = '') => `<endpoint><disconnection-method>${name}</disconnection-method>${more}</endpoint>`;
  it.each([
    ['made', '<conference-state><active>true</active></conference-state>', [{ kind: 'created' }]],
    ['brought', '<users><user entity="sip:a@d"><endpoint><joining-method>dialed-out</joining-method></endpoint></user></users>', [{ kind: 'joined', users: ['a@d'] }]],
    ['left', `<users><user entity="sip:a@d">${method('departed')}</user></users>`, [{ kind: 'left', users: ['a@d'] }]],
    [
      'removed',
      `<users><user entity="sip:a@d">${method('booted', '<disconnection-info><by>sip:b@d</by></disconnection-info>')}</user></users>`,
      [{ kind: 'removed', users: ['a@d'], by: 'b@d' }],
    ],
    ['named', '<conference-description><subject>x</subject></conference-description>', [{ kind: 'subject', subject: 'x' }]],
    ['without a name', '<conference-description><subject/></conference-description>', [{ kind: 'subject', subject: '' }]],
    ['icon', '<conference-description><icon/></conference-description>', [{ kind: 'icon' }]],
    ['nothing', '', []],
  ])('%s', (_name, inside, changes) => expect(readChanges(document('partial', 0, inside), 'd')).toEqual(changes));

  it('are over', () => expect(readChanges(document('deleted', 0, ''), 'd')).toEqual([{ kind: 'over' }]));

  it('are wished for as OMA has it', () => {
    expect(writeSubject('s1', 'a < b')).toContain('<request target="subject"><action>set</action><data><subject>a &lt; b</subject></data></request>');
    expect(writeSubject('s1', '')).toContain('<action>delete</action></request>');
    expect(writeIcon('i1', 'http://h/i?a&b')).toContain('<icon-uri>http://h/i?a&amp;b</icon-uri>');
  });
});
