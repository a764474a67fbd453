import { describe, expect, it } from 'vitest';
import { nameAddr, shortName, uriOf, userOf, userTyped } from '../src/wire/address';

describe('addresses', () => {
  it.each([
    ['sip:Alice@Example.com;user=phone', 'Alice@example.com'],
    ['sips:a%20b@d', 'a b@d'],
    ['sip:a@d:5060', 'a@d'],
    ['tel:+1-555-0100;phone-context=x', '+15550100@home'],
    ['sip:anonymous@anonymous.invalid', undefined],
    ['sip:example.com', undefined],
    ['mailto:a@d', undefined],
    ['', undefined],
  ])('%s names %s', (uri, user) => expect(userOf(uri, 'home')).toBe(user));

  it.each([
    ['bob', 'bob@home'],
    [' bob@Work.example ', 'bob@work.example'],
    ['+1 (555) 01-00', '+15550100@home'],
    ['sip:x@y', 'x@y'],
    ['a b', undefined],
    ['<x>', undefined],
    ['', undefined],
  ])('typed %s is %s', (text, user) => expect(userTyped(text, 'home')).toBe(user));

  it('writes what it reads', () => {
    for (const user of ['alice@d', '+1555@d', 'a b@d', 'o&m=x@d']) expect(userOf(uriOf(user), 'd')).toBe(user);
    expect(uriOf('+1555@d')).toBe('sip:+1555@d;user=phone');
  });

  it('tells names from URIs', () => {
    expect(nameAddr('"Ada \\"L\\"" <sip:a@d>;tag=1')).toEqual({ uri: 'sip:a@d', name: 'Ada "L"' });
    expect(nameAddr('sip:a@d;tag=1')).toEqual({ uri: 'sip:a@d', name: '' });
    expect(shortName('a@d', 'd')).toBe('a');
    expect(shortName('a@e', 'd')).toBe('a@e');
  });
});
