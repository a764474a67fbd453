import { hueOf, initials } from './format';

export function Avatar({ user, name }: { user: string; name: string }) {
  return (
    <span class="avatar" style={{ '--hue': hueOf(user) }} aria-hidden="true">
      {initials(name)}
    </span>
  );
}
