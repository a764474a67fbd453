import { render } from 'preact';
import { apply } from '../ui/theme';
import { takeToken } from './api';
import { Console } from './Console';
import { read, route } from './route';
import { language } from './strings';
import './style.css';

document.documentElement.lang = language;
apply();
takeToken();
route.value = read(location.hash);
render(<Console />, document.getElementById('app')!);
