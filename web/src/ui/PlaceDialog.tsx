// Chooses a place to send.

import { useSignal } from '@preact/signals';
import { type Place, placeTyped } from '../wire/place';
import { Dialog } from './Dialog';
import { Pin } from './icons';
import { type Key, t } from './strings';
import { WorldMap } from './WorldMap';

/** Metres, of a point that was chosen by hand. */
const BY_HAND = 1000;

export function PlaceDialog({ onClose, onSend }: { onClose: () => void; onSend: (place: Place) => void }) {
  const typed = useSignal('');
  const radius = useSignal(BY_HAND);
  const span = useSignal(360);
  const fault = useSignal<Key | undefined>(undefined);
  const at = placeTyped(typed.value);
  const choose = (latitude: number, longitude: number, metres: number, degrees: number) => {
    typed.value = `${latitude.toFixed(5)}, ${longitude.toFixed(5)}`;
    [radius.value, span.value, fault.value] = [metres, degrees, undefined];
  };
  const locate = () => {
    navigator.geolocation.getCurrentPosition(
      ({ coords }) => choose(coords.latitude, coords.longitude, coords.accuracy, 20),
      () => (fault.value = 'noPlace'),
      { timeout: 15_000 },
    );
  };
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const label = String(new FormData(event.currentTarget as HTMLFormElement).get('label') ?? '').trim();
    if (!at) {
      fault.value = 'placeBad';
      return;
    }
    onSend({ ...at, radius: radius.value, label });
  };
  // Each click looks closer.
  const click = (latitude: number, longitude: number) => {
    const closer = span.value > 90 ? 60 : span.value > 30 ? 20 : span.value > 10 ? 6 : span.value;
    choose(latitude, longitude, closer * 50, closer);
  };
  return (
    <Dialog title={t('sendPlace')} onClose={onClose} wide>
      <p class="quiet">{t('placeHint')}</p>
      <WorldMap at={at} span={span.value} ratio={0.5} onChoose={click} />
      <form onSubmit={submit} class="placeform">
        <label>
          {t('placeCoordinates')}
          <input type="text" name="coordinates" value={typed.value} placeholder="48.85830, 2.29450" autocomplete="off" spellcheck={false}
            onInput={(event) => { [typed.value, radius.value] = [event.currentTarget.value, 10]; if (placeTyped(typed.value)) span.value = 40; }} />
        </label>
        <label>
          {t('placeLabel')}
          <input type="text" name="label" maxLength={100} autocomplete="off" />
        </label>
        <p class="fault" role="alert">{fault.value ? t(fault.value) : ''}</p>
        <div class="buttons">
          <button type="button" onClick={() => { typed.value = ''; span.value = 360; }}>{t('map')}</button>
          <button type="button" onClick={locate}><Pin /> {t('myPlace')}</button>
          <button class="primary" type="submit">{t('sendPlace')}</button>
        </div>
      </form>
    </Dialog>
  );
}
