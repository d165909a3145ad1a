-- A job's curves for charts: smoothed and then down-sampled here, so that a page reads some hundred numbers in one answer.
--
-- The same sums as lora_core/monitor/smoothing.py and downsampling.py; tests compare the two on random series. Values are
-- loaded as arrays and walked in loops: one to two seconds for a million points, a tenth of that for 100,000.

-- The debiased exponential moving average; gaps (null) stay gaps and do not count. The mean is moved by steps of
-- difference / weight rather than kept as a sum, and tiny differences are cut, so that nothing overflows or underflows,
-- which would be an error in PostgreSQL.
create function private.smooth(p_values double precision[], p_weight double precision) returns double precision[]
    language plpgsql immutable set search_path = '' as $$
declare
    v_smoothed double precision[] := p_values;
    v_value double precision;
    v_mean double precision := 0;
    v_weights double precision := 0;
    v_difference double precision;
    v_place integer := 0;
begin
    if p_weight = 0 then
        return p_values;
    end if;
    foreach v_value in array p_values loop
        v_place := v_place + 1;
        if v_value is not null then
            v_weights := 1 + p_weight * v_weights;
            v_difference := v_value - v_mean;
            if abs(v_difference) < 1e-290 then
                v_mean := v_value;
            else
                v_mean := v_mean + v_difference / v_weights;
            end if;
            v_smoothed[v_place] := v_mean;
        end if;
    end loop;
    return v_smoothed;
end $$;

-- Chosen values of an array. Here and not in SQL, where finding one of a million values with gaps takes as many steps.
create function private.pick(p_values double precision[], p_places integer[]) returns double precision[]
    language plpgsql immutable set search_path = '' as $$
declare
    v_picked double precision[] := '{}';
    v_place integer;
    v_count integer := 0;
begin
    foreach v_place in array p_places loop
        v_count := v_count + 1;
        v_picked[v_count] := p_values[v_place];
    end loop;
    return v_picked;
end $$;

-- Places (from 1) of the values in rising order, equal ones as they stand, gaps left out. Null: every value is in its place.
create function private.order_of(p_values double precision[]) returns integer[]
    language plpgsql immutable set search_path = '' as $$
declare
    v_value double precision;
    v_before double precision := '-infinity';
begin
    foreach v_value in array p_values loop
        if v_value >= v_before then
            v_before := v_value;
        else
            return array(
                select u.place from unnest(p_values) with ordinality u (value, place)
                where u.value is not null order by u.value, u.place
            );
        end if;
    end loop;
    return null;
end $$;

-- Places (from 1) of the values that a chart shows: the first, the last, and the extremes of every bucket; of a bucket of
-- gaps the first.
create function private.min_max_places(p_values double precision[], p_points integer) returns integer[]
    language plpgsql immutable set search_path = '' as $$
declare
    v_count constant integer := cardinality(p_values);
    v_length integer;
    v_places integer[] := array[1];
    v_place integer := 0;
    v_value double precision;
    v_start integer := 1;
    v_end integer := 2;  -- the first value is no part of a bucket
    v_lowest double precision;
    v_highest double precision;
    v_low integer;
    v_high integer;
begin
    if v_count <= greatest(p_points, 2) then
        return array(select generate_series(1, v_count));
    end if;
    v_length := ceil((v_count - 2)::double precision / greatest(1, (p_points - 2) / 2));
    foreach v_value in array p_values loop
        v_place := v_place + 1;
        if v_place = v_end then
            if v_place > 2 then
                v_places := v_places || least(v_low, v_high);
                if v_low <> v_high then
                    v_places := v_places || greatest(v_low, v_high);
                end if;
            end if;
            exit when v_place = v_count;
            v_start := v_place;
            v_end := least(v_start + v_length, v_count);
            v_low := v_start;
            v_high := v_start;
            v_lowest := v_value;
            v_highest := v_value;
        elsif v_value < v_lowest then
            v_lowest := v_value;
            v_low := v_place;
        elsif v_value > v_highest then
            v_highest := v_value;
            v_high := v_place;
        elsif v_lowest is null and v_value is not null then
            v_lowest := v_value;
            v_highest := v_value;
            v_low := v_place;
            v_high := v_place;
        end if;
    end loop;
    return v_places || v_count;
end $$;

-- METRIC_COLUMNS of lora_core/schema/metrics.py; a test compares the two.
create function private.metric_columns() returns text[]
    language sql immutable set search_path = '' as $$
    select array[
        'epoch', 'tokens_seen', 'loss', 'eval_loss', 'learning_rate', 'grad_norm', 'tokens_per_second', 'samples_per_second',
        'data_wait_fraction', 'elapsed_seconds', 'remaining_seconds', 'gpu_memory_allocated_gb', 'gpu_memory_reserved_gb',
        'gpu_utilization', 'gpu_temperature_c', 'gpu_power_w'
    ];
$$;

-- The expression that reads a column of `p`, a row of metrics_points, as a number, or null where it is not finite. Nothing
-- measured is beyond 1e300, and sums of such numbers would overflow.
create function private.metric_expression(p_name text) returns text
    language sql immutable set search_path = '' as $$
    select case
        when p_name in ('step', 'tokens_seen') then format('p.%I::double precision', p_name)
        when p_name = 'recorded_at' then 'extract(epoch from p.recorded_at)::double precision'
        else format('case when p.%1$I between -1e300 and 1e300 then p.%1$I end', p_name)
    end;
$$;

-- One column of a job's visible points of a kind: of all by step, or of these steps as they stand.
create function private.metric_values(p_job uuid, p_kind text, p_name text, p_steps bigint[] default null)
    returns double precision[]
    language plpgsql stable security definer set search_path = '' as $$
declare
    v_values double precision[];
begin
    execute format(
        case
            when p_steps is null then
                'select array_agg(q.value) from (select %s as value from public.metrics_points p'
                ' where p.job_id = $1 and p.kind = $2 and not p.hidden order by p.step) q'
            else
                'select array_agg(%s order by u.nth) from unnest($3) with ordinality u (step, nth)'
                ' join public.metrics_points p on p.job_id = $1 and p.kind = $2 and p.step = u.step'
        end, private.metric_expression(p_name)
    ) into v_values using p_job, p_kind, p_steps;
    return coalesce(v_values, '{}');
end $$;

-- Columns of one kind of points over x, visible points only: {"x", "steps", "columns", "total", "last_step"}. Points without
-- x are dropped, and the rest is in order of x. It is stable, so all it reads is of one moment.
create function public.job_series(
    p_job uuid, p_kind text, p_columns text[], p_points integer default 600, p_smoothing double precision default 0,
    p_x text default 'step'
) returns jsonb
    language plpgsql stable security definer set search_path = '' as $$
declare
    v_smoothing constant double precision := coalesce(p_smoothing, 0);
    v_unknown text;
    v_name text;
    v_steps double precision[];
    v_xs double precision[];
    v_values double precision[];
    v_order integer[];
    v_places integer[];
    v_kept bigint[];
    v_columns jsonb := '{}';
begin
    if cardinality(p_columns) > 32 then
        raise sqlstate 'PT422' using message = 'A chart reads at most 32 columns at once.';
    end if;
    select coalesce(u.name, 'null') into v_unknown from unnest(p_columns) u (name)
    where u.name is null or u.name <> all (private.metric_columns()) limit 1;
    if not found and p_x in ('step', 'epoch', 'tokens_seen', 'elapsed_seconds', 'recorded_at') is not true then
        v_unknown := coalesce(p_x, '');
    end if;
    if v_unknown is not null then
        raise sqlstate 'PT404' using message = format('There is no metric called %s.', left(v_unknown, 60));
    elsif p_kind in ('train', 'eval', 'system') is not true then
        raise sqlstate 'PT404' using message = format('There are no points of the kind %s.', left(p_kind, 60));
    elsif not (v_smoothing >= 0 and v_smoothing < 1) then
        raise sqlstate 'PT422' using message = 'The smoothing weight lies between 0 and 1 (not 1 itself).';
    end if;
    perform from public.training_jobs j where j.id = p_job and j.user_id = private.person();
    if not found then
        raise sqlstate 'PT404' using message = 'There is no such job (any more).';
    end if;

    -- One pass over the rows, since that is what takes the time.
    execute format(
        'select array_agg(q.step), array_agg(q.x), array_agg(q.value) from ('
        ' select p.step::double precision as step, %s as x, %s as value from public.metrics_points p'
        ' where p.job_id = $1 and p.kind = $2 and not p.hidden order by p.step) q',
        private.metric_expression(p_x), private.metric_expression(coalesce(p_columns[1], p_x))
    ) into v_steps, v_xs, v_values using p_job, p_kind;
    if v_steps is null then
        return jsonb_build_object(
            'x', '[]'::jsonb, 'steps', '[]'::jsonb, 'total', 0, 'last_step', -1,
            'columns', (select coalesce(jsonb_object_agg(u.name, '[]'::jsonb), '{}') from unnest(p_columns) u (name))
        );
    end if;
    if p_columns[1] is not null then
        v_values := private.smooth(v_values, v_smoothing);
    end if;
    if p_x <> 'step' then
        v_order := private.order_of(v_xs);
    end if;
    if v_order is null then
        v_places := private.min_max_places(v_values, least(coalesce(p_points, 600), 20000));
    else
        v_places := private.min_max_places(private.pick(v_values, v_order), least(coalesce(p_points, 600), 20000));
        v_places := private.pick(v_order, v_places);
    end if;
    v_kept := private.pick(v_steps, v_places);
    foreach v_name in array coalesce(p_columns, '{}') loop
        if v_name = p_columns[1] then
            v_values := private.pick(v_values, v_places);
        elsif v_smoothing = 0 then
            v_values := private.metric_values(p_job, p_kind, v_name, v_kept);
        else
            v_values := private.smooth(private.metric_values(p_job, p_kind, v_name), v_smoothing);
            v_values := private.pick(v_values, v_places);
        end if;
        v_columns := v_columns || jsonb_build_object(v_name, v_values);
    end loop;
    return jsonb_build_object(
        'x', private.pick(v_xs, v_places), 'steps', v_kept, 'columns', v_columns,
        'total', cardinality(v_steps), 'last_step', v_steps[cardinality(v_steps)]::bigint
    );
end $$;

select private.grant_function('job_series', 'authenticated');
