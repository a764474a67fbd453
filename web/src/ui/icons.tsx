// Icons, drawn here so that nothing is fetched. All are for the eye only: what they mean is said in words beside them.

import type { JSX } from 'preact';

function icon(path: JSX.Element, box = '0 0 24 24') {
  return () => (
    <svg class="icon" viewBox={box} aria-hidden="true" fill="none" stroke="currentColor" stroke-width="2"
      stroke-linecap="round" stroke-linejoin="round">
      {path}
    </svg>
  );
}

export const Back = icon(<path d="M15 5l-7 7 7 7" />);
export const Plus = icon(<path d="M12 5v14M5 12h14" />);
export const More = icon(<path d="M12 5v.01M12 12v.01M12 19v.01" stroke-width="3" />);
export const Send = icon(<path d="M4 12l16-8-6 16-3-6z" />);
export const Close = icon(<path d="M6 6l12 12M18 6L6 18" />);
export const Clock = icon(<><circle cx="12" cy="12" r="8" /><path d="M12 8v4l3 2" /></>);
export const Check = icon(<path d="M5 13l4 4L19 7" />);
export const Checks = icon(<path d="M2 13l4 4L16 7M12 16l1 1L23 7" />);
export const Alert = icon(<><circle cx="12" cy="12" r="9" /><path d="M12 7v6M12 17v.01" /></>);
export const Smile = icon(<><circle cx="12" cy="12" r="9" /><path d="M8 14s1.5 2 4 2 4-2 4-2M9 9v.01M15 9v.01" /></>);
export const Tower = icon(<path d="M12 22V8M6 10l12-4M6 10L3 5M18 6l3 5" />);
export const Phone = icon(<path d="M5 4h4l2 5-2.5 1.5a11 11 0 0 0 5 5L15 13l5 2v4a1 1 0 0 1-1 1A16 16 0 0 1 4 5a1 1 0 0 1 1-1z" />);
export const Video = icon(<><rect x="3" y="6" width="12" height="12" rx="2" /><path d="M15 10l6-3v10l-6-3z" /></>);
export const HangUp = icon(<path d="M3 14c0-4 4-6 9-6s9 2 9 6v1a1 1 0 0 1-1 1h-3a1 1 0 0 1-1-1v-2a12 12 0 0 0-8 0v2a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1z" />);
export const Mic = icon(<><rect x="9" y="3" width="6" height="11" rx="3" /><path d="M5 11a7 7 0 0 0 14 0M12 18v3" /></>);
export const Keys = icon(<path d="M6 6v.01M12 6v.01M18 6v.01M6 12v.01M12 12v.01M18 12v.01M6 18v.01M12 18v.01M18 18v.01" stroke-width="3.500" />);
export const Clip = icon(<path d="M20 11l-8 8a5 5 0 0 1-7-7l8.5-8.5a3.4 3.4 0 0 1 5 5L10 17a1.7 1.7 0 0 1-2.5-2.5L15 7" />);
export const File = icon(<><path d="M6 3h8l4 4v14H6z" /><path d="M14 3v4h4" /></>);
export const Pin = icon(<><path d="M12 21s7-6.2 7-11a7 7 0 0 0-14 0c0 4.800 7 11 7 11z" /><circle cx="12" cy="10" r="2.5" /></>);
export const Person = icon(<><circle cx="12" cy="8" r="4" /><path d="M4 21c0-4 3.500-6 8-6s8 2 8 6" /></>);
export const People = icon(<><circle cx="9" cy="9" r="3.500" /><path d="M2.500 20c0-3.500 3-5 6.500-5s6.500 1.500 6.500 5M16 5.500a3.500 3.500 0 0 1 0 7M18 15.500c2.200.6 3.500 2 3.500 4.500" /></>);
export const Search = icon(<><circle cx="11" cy="11" r="6" /><path d="M16 16l5 5" /></>);
export const Play = icon(<path d="M8 5l11 7-11 7z" fill="currentColor" />);
export const Pause = icon(<path d="M8 5v14M16 5v14" stroke-width="4" />);
export const Down = icon(<path d="M12 4v11M7 11l5 5 5-5M5 20h14" />);
export const Picture = icon(<><rect x="3" y="5" width="18" height="14" rx="2" /><path d="M3 16l5-5 5 5 3-3 5 4" /><circle cx="16" cy="9" r="1.500" /></>);
export const Info = icon(<><circle cx="12" cy="12" r="9" /><path d="M12 11v6M12 7.500v.01" /></>);
