import { render } from 'preact';
import { App } from './ui/App';
import { language } from './ui/strings';
import { apply } from './ui/theme';
import './style.css';

document.documentElement.lang = language;
apply();
render(<App />, document.getElementById('app')!);

// Only in the build: while the client is worked on, nothing is to be kept.
if (import.meta.env.PROD) void navigator.serviceWorker?.register('/sw.js').catch(() => undefined);
