// Accounts: who may register.

import { useState } from 'preact/hooks';
import { segment, send } from '../api';
import { usePages } from '../data';
import { date } from '../format';
import { Ask, Empty, Load, Mark, More, Page, Table, say } from '../parts';
import { href } from '../route';
import { t } from '../strings';
import type { Account } from '../types';

type Asked = { what: 'add' } | { what: 'password' | 'remove'; of: Account };

export function AccountsPage() {
  const accounts = usePages<Account>('/api/accounts');
  const [asked, ask] = useState<Asked>();
  const change = async (account: Account, change: object) => {
    await send('PATCH', `/api/accounts/${segment(account.aor)}`, change);
    say(t('changed', { aor: account.aor }));
    await accounts.reload();
  };
  const remove = async (account: Account) => {
    await send('DELETE', `/api/accounts/${segment(account.aor)}`);
    say(t('removed'));
    await accounts.reload();
  };
  const close = () => ask(undefined);
  return (
    <Page title={t('accounts')} acts={<button type="button" class="primary" onClick={() => ask({ what: 'add' })}>{t('addAccount')}</button>}>
      <Load of={accounts} has={accounts.items !== undefined}>
        {accounts.items?.length === 0 ? <Empty title={t('noAccounts')} /> : (
          <Table label={t('accounts')} rows={accounts.items ?? []} id={({ aor }) => aor} columns={[
            { name: t('aor'), cell: ({ aor }) => <a href={href('user', aor)}>{aor}</a>, heads: true },
            { name: t('name'), cell: ({ display_name }) => display_name || t('none') },
            { name: t('numbers'), cell: ({ tel }) => tel.join(', ') || t('none') },
            { name: t('made'), cell: ({ created }) => date(created * 1000) },
            { name: t('state'), cell: ({ disabled }) => (disabled ? <Mark tone="bad">{t('disabled')}</Mark> : <Mark tone="good">{t('active')}</Mark>) },
            {
              name: t('acts'),
              cell: (account) => (
                <span class="acts">
                  <button type="button" class="small" aria-label={t('changePasswordOf', { aor: account.aor })}
                    onClick={() => ask({ what: 'password', of: account })}>{t('changePassword')}</button>
                  <button type="button" class="small" aria-label={`${account.disabled ? t('enable') : t('disable')} ${account.aor}`}
                    onClick={() => void change(account, { disabled: !account.disabled })}>{account.disabled ? t('enable') : t('disable')}</button>
                  <button type="button" class="small danger" aria-label={t('removeAccount', { aor: account.aor })}
                    onClick={() => ask({ what: 'remove', of: account })}>{t('remove')}</button>
                </span>
              ),
            },
          ]} />
        )}
        <More more={accounts.more} />
      </Load>
      {asked?.what === 'add' && <Add onClose={close} onAdded={accounts.reload} />}
      {asked?.what === 'password' && <NewPassword of={asked.of} onClose={close} onChange={(password) => change(asked.of, { password })} />}
      {asked?.what === 'remove' && (
        <Ask title={t('removeAccount', { aor: asked.of.aor })} text={t('removeAccountSure')} act={t('remove')} danger
          onAct={() => remove(asked.of)} onClose={close} />
      )}
    </Page>
  );
}

function Field(props: { id: string; name: string; value: string; type?: string; required?: boolean; hint?: string; onValue: (value: string) => void }) {
  return (
    <>
      <label for={props.id}>{props.name}</label>
      <input id={props.id} type={props.type ?? 'text'} value={props.value} required={props.required ?? false} autocomplete="off" spellcheck={false}
        autocapitalize="off" placeholder={props.hint ?? ''} onInput={(event) => props.onValue(event.currentTarget.value)} />
    </>
  );
}

function Add({ onClose, onAdded }: { onClose: () => void; onAdded: () => Promise<void> }) {
  const [aor, setAor] = useState('');
  const [password, setPassword] = useState('');
  const [tel, setTel] = useState('');
  const [name, setName] = useState('');
  const add = async () => {
    const account = { aor: aor.trim(), password, tel: tel.split(/[\s,]+/).filter(Boolean), display_name: name.trim() };
    await send('POST', '/api/accounts', account);
    say(t('added', { aor: account.aor }));
    await onAdded();
  };
  return (
    <Ask title={t('addAccount')} act={t('add')} onAct={add} onClose={onClose}>
      <Field id="new-aor" name={t('aor')} value={aor} onValue={setAor} hint="user@example.com" required />
      <Field id="new-password" name={t('password')} value={password} onValue={setPassword} type="password" required />
      <Field id="new-tel" name={t('numbersHint')} value={tel} onValue={setTel} />
      <Field id="new-name" name={t('name')} value={name} onValue={setName} />
    </Ask>
  );
}

function NewPassword({ of, onClose, onChange }: { of: Account; onClose: () => void; onChange: (password: string) => Promise<void> }) {
  const [password, setPassword] = useState('');
  return (
    <Ask title={t('changePasswordOf', { aor: of.aor })} act={t('save')} onAct={() => onChange(password)} onClose={onClose}>
      <Field id="password" name={t('newPassword')} value={password} onValue={setPassword} type="password" required />
    </Ask>
  );
}
