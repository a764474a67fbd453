import { ownPath } from '../wire/file';
import { hueOf, initials } from './format';

/** `icon`: the address of a picture; only those on our own server are fetched. `there`: can be reached now. */
export function Avatar({ user, name, icon = '', there = false }: { user: string; name: string; icon?: string; there?: boolean }) {
  const path = ownPath(icon);
  return (
    <span class={there ? 'avatar there' : 'avatar'} style={{ '--hue': hueOf(user) }} aria-hidden="true">
      {path ? <img src={path} alt="" /> : initials(name)}
    </span>
  );
}
