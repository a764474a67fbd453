// A place that somebody has sent.

import { coordinates, readPlace } from '../../wire/place';
import { WorldMap } from '../WorldMap';
import { t } from '../strings';

export function PlaceContent({ xml }: { xml: string }) {
  const place = readPlace(xml);
  if (!place) return <p class="text quiet">{t('unknownContent', { type: t('place') })}</p>;
  const geo = `geo:${place.latitude},${place.longitude}${place.radius > 0 ? `;u=${Math.round(place.radius)}` : ''}`;
  return (
    <div class="place">
      <WorldMap at={place} span={50} />
      {place.label && <p class="label" dir="auto">{place.label}</p>}
      <p class="quiet">
        {coordinates(place)}
        {place.radius > 1 && <> · {t('accuracy', { metres: Math.round(place.radius) })}</>}
      </p>
      <a href={geo}>{t('openElsewhere')}</a>
    </div>
  );
}
